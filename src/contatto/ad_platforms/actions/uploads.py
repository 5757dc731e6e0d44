"""Uploads of an Ads Manager's export: the preview and the writes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import batched
from typing import Final

from contatto.accounts.rules import check_timezone
from contatto.ad_platforms import store
from contatto.ad_platforms.actions.accounts import (
    NewOutsideAccount,
    load_outside_account,
    open_outside_account,
)
from contatto.ad_platforms.actions.pulling import keep_nodes, keep_spend
from contatto.ad_platforms.model import AdPlatform, NodeLevel, OutsideAccount, OutsideNode
from contatto.ad_platforms.rules.pulling import known_currency
from contatto.ad_platforms.rules.sheets import AdSheet, SheetRow, read_ad_sheet
from contatto.ad_platforms.store import record_account
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_number
from contatto.measurement.rules import natural_number

_AT_ONCE: Final = 50
"""Ads or days that are written together."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """Account of an uploaded file: an existing one by its id here, or a new one of a platform.

    ``currency`` and ``timezone`` are those of a new account; the file may say the currency itself.
    """

    text: str
    account_id: str = ""
    platform: AdPlatform = AdPlatform.TIKTOK
    external_id: str = ""
    name: str = ""
    currency: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class UploadPreview:
    """Preview of a file: counts of new, changed and unchanged ad days, and rejected rows."""

    sheet: AdSheet
    new: int
    changed: int
    same: int
    currency: str


def foresee_upload(tx: Tx, business_id: str, upload: NewUpload) -> UploadPreview:
    """Return the preview of an upload.

    Raises:
        Refused: NOT_FOUND; INVALID, with the fault of the file or the account.
    """
    account = load_outside_account(tx, business_id, upload.account_id) if upload.account_id else None
    if account is None:
        check_timezone(upload.timezone)
    sheet = read_ad_sheet(upload.text, _names(tx, account) if account else {})
    currency = _currency(sheet, account, upload.currency)
    saved_days = store.list_ad_days(tx, account, sheet.span) if account else []
    days_by_key = {(day.ad_number, day.day): day for day in saved_days}
    counts = Counter(
        "new" if key not in days_by_key else "same" if days_by_key[key] == row.day else "changed"
        for row in sheet.rows
        for key in [(row.day.ad_number, row.day.day)]
    )
    return UploadPreview(sheet, counts["new"], counts["changed"], counts["same"], currency)


def list_upload_writes(account: OutsideAccount, sheet: AdSheet) -> list[Callable[[Tx], None]]:
    """Return the writes that save the figures of a file, each of them short.

    A figure replaces the one of its ad and day, so the same file can be sent again after a failure.
    """
    mark = new_number()
    nodes = [
        partial(keep_nodes, account=account, nodes=some, mark=mark)
        for some in batched(_nodes(account, sheet.rows), _AT_ONCE)
    ]
    days = [
        partial(keep_spend, account=account, days=some, mark=mark)
        for some in batched([row.day for row in sheet.rows], _AT_ONCE)
    ]
    return [*nodes, *days]


def open_upload_account(
    tx: Tx, business_id: str, upload: NewUpload, preview: UploadPreview
) -> OutsideAccount:
    """Load the account of an upload, or make it.

    Raises:
        Refused: NOT_FOUND; INVALID, when the account has another currency.
    """
    if upload.account_id:
        account = load_outside_account(tx, business_id, upload.account_id)
    else:
        new = NewOutsideAccount(upload.platform, upload.external_id, name=upload.name)
        account = open_outside_account(tx, business_id, new, ())
    if account.currency and account.currency != preview.currency:
        raise _other_currency(account.currency)
    if not account.currency:
        facts = {"currency": preview.currency, "timezone": account.timezone or upload.timezone}
        account = record_account(tx, account, **facts)
    return account


def _currency(sheet: AdSheet, account: OutsideAccount | None, typed: str) -> str:
    """Return the one currency of a file and its account.

    Raises:
        Refused: INVALID, for none, for several, or for another than the account's.
    """
    own_currency = account.currency if account else ""
    currencies = sheet.currencies
    if len(currencies) > 1:
        raise Refused(
            errors.INVALID, "currency: The file has amounts in several currencies. Split it by currency."
        )
    currency = next(iter(currencies), "") or own_currency or known_currency(typed)
    if not currency:
        raise Refused(errors.INVALID, "currency: The file has no currency. Enter three letters, such as SGD.")
    if own_currency and currency != own_currency:
        raise _other_currency(own_currency)
    return currency


def _other_currency(own_currency: str) -> Refused:
    return Refused(
        errors.INVALID,
        "currency: This account uses %(currency)s. Enter the same currency.",
        currency=own_currency,
    )


def _names(tx: Tx, account: OutsideAccount) -> dict[str, int]:
    """Return the ads with a unique name by name."""
    ads = store.list_nodes(tx, account, NodeLevel.AD)
    counts = Counter(ad.name for ad in ads)
    return {ad.name: ad.number for ad in ads if counts[ad.name] == 1}


def _nodes(account: OutsideAccount, rows: tuple[SheetRow, ...]) -> list[OutsideNode]:
    """Return the campaigns, ad groups and ads of rows; one without an id gets a number by its name."""
    nodes_by_key: dict[tuple[NodeLevel, int], OutsideNode] = {}
    for row in rows:
        campaign = row.campaign_number or _number_of(account, "campaign", row.campaign_name)
        group = row.ad_group_number or _number_of(account, "ad group", row.campaign_name, row.ad_group_name)
        for node in (
            OutsideNode(NodeLevel.CAMPAIGN, campaign, 0, row.campaign_name or str(campaign)),
            OutsideNode(NodeLevel.AD_GROUP, group, campaign, row.ad_group_name or str(group)),
            OutsideNode(NodeLevel.AD, row.day.ad_number, group, row.ad_name or str(row.day.ad_number)),
        ):
            if node.number:
                nodes_by_key[node.level, node.number] = node
    return sorted(nodes_by_key.values(), key=lambda node: list(NodeLevel).index(node.level))


def _number_of(account: OutsideAccount, *names: str) -> int:
    return natural_number(account.id, *names) if names[-1] else 0
