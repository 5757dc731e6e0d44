"""The statement of a business: what its ad accounts paid and were charged, as CSV."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import AdAccount, Permission
from contatto.accounts.rules import may_use, require
from contatto.accounts.store import list_ad_accounts
from contatto.ads.model import NodeFilter, NodeStatus, Page
from contatto.ads.store import list_ad_groups
from contatto.delivery.actions.balances import load_statement
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx
from contatto.kit.numbers import MICROS
from contatto.kit.table_export import csv_lines
from contatto.operators.actions import statement_rows
from contatto.operators.store import (
    list_admissions_of_business,
    list_balances_of_accounts,
    list_placement_names,
    list_used_placements,
)
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)


@router.get("/ads/statement.csv")
async def download_statement(request: Request, caller: PageCaller) -> StreamingResponse:
    """Payments and charges of the ad accounts by day, with what was left after each."""
    require(caller, Permission.READ_REPORTS)

    def work(tx: Tx) -> list[list[str]]:
        head = "ad account,currency,day,ad group,note,views,clicks,amount,balance,marketplace,placement"
        lines = [head.split(",")]
        markets = {
            admission.operator_id: admission
            for admission in list_admissions_of_business(tx, caller.business_id)
        }
        for account in list_ad_accounts(tx, caller.business_id):
            if not may_use(caller, account.id):
                continue
            statement = load_statement(tx, account)
            groups = _group_names(tx, account)
            for line in statement:
                lines.append([
                    str(account.number), account.currency, line.day,
                    groups.get(line.ad_group_id, line.ad_group_id), line.note,
                    str(line.views), str(line.clicks), f"{line.micros / MICROS:.6f}",
                    f"{line.balance_micros / MICROS:.6f}", "", "",
                ])  # fmt: skip
            for balance in list_balances_of_accounts(tx, caller.business_id, [account.id]):
                market = markets[balance.operator_id].operator_name
                for number, currency, day, placement, *rest in statement_rows(tx, balance, names, groups):
                    lines.append([number, currency, day, *rest, market, placement])
        return lines

    db = context_of(request).db
    used = await db.read(lambda tx: list_used_placements(tx, caller.business_id))
    with acting(""):  # a placement is the operator's; of those that were paid for, the name is told
        names = await db.read(lambda tx: list_placement_names(tx, used))
    lines = csv_lines(await db.read_long(work, caller.business_id), bom=True)
    headers = {"Content-Disposition": 'attachment; filename="statement.csv"'}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


def _group_names(tx: Tx, account: AdAccount) -> dict[str, str]:
    """The names of an account's ad groups, also of those that were deleted."""
    node_filter = NodeFilter(statuses=frozenset(NodeStatus))
    groups = list_ad_groups(tx, account.business_id, account.id, node_filter, Page(1, 1_000_000))
    return {group.id: group.name for group in groups}
