"""What the pages of ad accounts elsewhere show, as values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from contatto.ad_platforms.model import AdPlatform, NodeLevel, OutsideAccount, PullState
from contatto.ad_platforms.registry import CONNECTORS
from contatto.ad_platforms.rules.pulling import STOPS
from contatto.ad_platforms.store.accounts import list_outside_accounts
from contatto.ad_platforms.store.mirror import count_nodes
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_
from contatto.measurement.model import Goal, MeasuredAd

PLATFORMS: Final = {AdPlatform.TIKTOK: N_("TikTok Ads"), AdPlatform.META: N_("Meta Ads")}
STATES: Final = {
    PullState.NEW: N_("Importing"),
    PullState.READY: N_("Up to date"),
    PullState.RETRYING: N_("Retrying"),
    PullState.STOPPED: N_("Stopped"),
    PullState.UPLOADS: N_("Not connected"),
}
TONES: Final = {
    PullState.NEW: "review",
    PullState.READY: "on",
    PullState.RETRYING: "review",
    PullState.STOPPED: "failed",
    PullState.UPLOADS: "off",
}


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account; ``title`` is what people call it, ``reason`` why it waits or has stopped."""

    id: str
    platform: str
    title: str
    external_id: str
    state: str
    tone: str
    reason: str
    currency: str
    timezone: str
    base_url: str
    pulled_at: datetime | None
    pulled_through: str
    left_out: int
    campaigns: int
    ad_groups: int
    ads: int
    is_connected: bool


@dataclass(frozen=True, slots=True)
class AdRow:
    """A mirrored ad with all above it."""

    number: str
    name: str
    ad_group_name: str
    campaign_name: str
    goal: Goal
    status: str


def list_account_rows(tx: Tx, business_id: str) -> list[AccountRow]:
    counts = count_nodes(tx, business_id)
    return [show_account(account, counts) for account in list_outside_accounts(tx, business_id)]


def show_account(account: OutsideAccount, counts: dict[tuple[str, NodeLevel], int]) -> AccountRow:
    is_own = account.base_url == CONNECTORS[account.platform].base_url
    return AccountRow(
        id=account.id,
        platform=PLATFORMS[account.platform],
        title=account.name or account.external_id,
        external_id=account.external_id,
        state=STATES[account.state],
        tone=TONES[account.state],
        reason=STOPS.get(account.reason, account.reason),
        currency=account.currency,
        timezone=account.timezone,
        base_url="" if is_own else account.base_url,
        pulled_at=account.pulled_at,
        pulled_through=account.pulled_through,
        left_out=account.left_out,
        campaigns=counts.get((account.id, NodeLevel.CAMPAIGN), 0),
        ad_groups=counts.get((account.id, NodeLevel.AD_GROUP), 0),
        ads=counts.get((account.id, NodeLevel.AD), 0),
        is_connected=account.state is not PullState.UPLOADS,
    )


def show_ad(ad: MeasuredAd, status: str) -> AdRow:
    return AdRow(str(ad.ad_number), ad.ad_name, ad.ad_group_name, ad.campaign_name, ad.goal, status)
