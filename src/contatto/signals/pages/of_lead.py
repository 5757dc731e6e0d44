"""The part of a lead's page that says what the ad platform was told of the lead, step by step."""

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import may, require
from contatto.ad_platforms.store import list_outside_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.leads.store.records import find_lead
from contatto.signals.pages.views import PLATFORMS, SignalRow, show_signals
from contatto.signals.store.signals import list_signals_of_leads
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ToldView:
    """What one ad account was told of a lead, the first step first; ``page`` is that of its signals."""

    name: str
    platform: str
    page: str
    signals: list[SignalRow]


@router.get("/leads/{lead_id}/signals")
async def show_signals_of_lead(request: Request, caller: PageCaller, lead_id: str) -> HTMLResponse:
    """What the ad platform that earned a lead was told of it."""
    require(caller, Permission.READ_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> list[ToldView]:
        if find_lead(tx, caller.business_id, lead_id) is None:
            raise Refused(errors.NOT_FOUND, "Lead not found.")
        return _load_told(tx, caller.business_id, lead_id)

    values = {
        "caller": caller,
        "lead_id": lead_id,
        "told": await context.db.read(load),
        "can_manage": may(caller, Permission.ADMINISTER),
    }
    return context.pages.render(request, "signals/_lead.html", values)


def _load_told(tx: Tx, business_id: str, lead_id: str) -> list[ToldView]:
    signals = list_signals_of_leads(tx, business_id, {lead_id})
    found = []
    for account in list_outside_accounts(tx, business_id) if signals else []:
        own = [signal for signal in signals if signal.outside_account_id == account.id]
        if own:
            page = f"/settings/ad-platforms/{account.id}/signals"
            name = account.name or account.external_id
            found.append(
                ToldView(name, PLATFORMS[account.platform], page, show_signals(tx, business_id, own))
            )
    return found
