"""Campaigns, ad groups and ads as the templates want them, and refusals as words beside a field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from contatto.accounts.model import AdAccount
from contatto.ads.model import WINDOW_DAYS, Ad, AdGroup, Campaign, CheckResult
from contatto.channels.model import ChannelAccount
from contatto.forms.store import list_versions
from contatto.kit import errors
from contatto.kit.context import Context
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.words import Words
from contatto.measurement.model import TrackingTicket
from contatto.measurement.rules import sign_ticket

TRACKING_KEY: Final = "tracking"
_FORM_FIELDS: Final = {
    "campaign_name": "name",
    "adgroup_name": "name",
    "ad_name": "name",
    "identity_id": "channel_account_id",
    "location_ids": "countries",
    "conversion_bid_price": "bid",
    "schedule_start_time": "starts_on",
    "schedule_end_time": "ends_on",
    "click_attribution_window": "click_window_days",
    "view_attribution_window": "view_window_days",
}


@dataclass(frozen=True, slots=True)
class Homes:
    """The ad accounts and channel accounts of a business, by id."""

    ad_accounts: Mapping[str, AdAccount]
    channels: Mapping[str, ChannelAccount]


def chat_url(context: Context, ad: Ad) -> str:
    """The link that stands for the ad itself: each tap on it counts."""
    ticket = TrackingTicket(ad.business_id, ad.id, 0)
    return f"{context.settings.base_url}/t/c/{sign_ticket(ticket, context.vault.signing_key(TRACKING_KEY))}"


def show_campaign(campaign: Campaign, homes: Homes, ad_groups: list[dict[str, Any]]) -> dict[str, Any]:
    account = homes.ad_accounts[campaign.ad_account_id]
    return {
        "id": str(campaign.number),
        "name": campaign.name,
        "status": campaign.status,
        "ad_account_name": account.name,
        "currency": account.currency,
        "ad_groups": ad_groups,
    }


def show_ad_group(ad_group: AdGroup, homes: Homes, ads: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": str(ad_group.number),
        "name": ad_group.name,
        "status": ad_group.status,
        "goal": ad_group.goal,
        "budget_micros": ad_group.budget_micros,
        "bid_micros": ad_group.bid_micros,
        "countries": list(ad_group.countries),
        "channel_account_name": homes.channels[ad_group.channel_account_id].name,
        "click_window_days": WINDOW_DAYS[ad_group.click_window] or 0,
        "view_window_days": WINDOW_DAYS[ad_group.view_window] or 0,
        "ads": ads,
    }


def show_ad(ad: Ad, context: Context) -> dict[str, Any]:
    return {
        "id": str(ad.number),
        "name": ad.name,
        "status": ad.status,
        "headline": ad.headline,
        "body": ad.text or None,
        "chat_url": chat_url(context, ad),
    }


def show_check(result: CheckResult) -> dict[str, Any]:
    return {
        "key": result.check,
        "ok": result.passed,
        "countries": list(result.countries),
        "failing": list(result.failing),
    }


def form_choices(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """Published forms to choose for an ad, by ``page_id``; those published last come first."""
    return [
        (str(version.number), f"{version.name} · version {version.version}")
        for version in list_versions(tx, business_id)
    ]


def check_choice(tx: Tx, business_id: str, page_id: str) -> str:
    """The chosen form, which must be one of the business's own, or none.

    Raises:
        Refused: INVALID.
    """
    if page_id and page_id not in dict(form_choices(tx, business_id)):
        raise Refused(errors.INVALID, "page_id: choose a form of the list.")
    return page_id


def field_errors(refused: Refused, words: Words) -> dict[str, str]:
    """A refusal as the error of a form's field; of the whole form (``""``) where it names none."""
    if refused.code is errors.NOT_ELIGIBLE:
        says = words.gettext("The goal Lead is not available with these choices; see which check fails.")
        return {"goal": says}
    detail = refused.detail_in(words)
    field, colon, says = detail.partition(": ")
    if not colon or " " in field:
        return {"": detail}
    return {_FORM_FIELDS.get(field, field): says[:1].upper() + says[1:]}
