"""Making campaigns and changing them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from contatto.accounts.model import AdAccount
from contatto.ads import store
from contatto.ads.actions.publishing import EVERY_STATUS, load_ad_account, publish_ads
from contatto.ads.model import BudgetMode, Campaign, NodeFilter, NodeStatus
from contatto.ads.rules.delivering import check_alive, check_move, check_seen
from contatto.ads.rules.settings import changed_budget, check_budget, check_least, check_name
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults
from contatto.kit.ids import new_id, new_number


@dataclass(frozen=True, slots=True)
class NewCampaign:
    ad_account_id: str
    name: str
    budget_mode: BudgetMode = BudgetMode.INFINITE
    budget_micros: int | None = None
    status: NodeStatus = NodeStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class CampaignChanges:
    """Changes of the node; None leaves a value as it is. ``seen_at`` is as in ``AdGroupChanges``."""

    name: str | None = None
    budget_micros: int | None = None
    seen_at: datetime | None = None


def plan_campaign(tx: Tx, business_id: str, new: NewCampaign) -> Campaign:
    """The campaign that would be made; nothing is written.

    Raises:
        Refused: NO_ADVERTISER, INVALID.
    """
    account, faults = load_ad_account(tx, business_id, new.ad_account_id), Faults()
    name = faults.read(lambda: check_name("campaign_name", new.name), "")
    budget = faults.read(lambda: check_budget(new.budget_mode, new.budget_micros), None)
    faults.read(lambda: check_least(budget, account.currency), None)
    faults.check()
    return Campaign(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        ad_account_id=account.id,
        name=name,
        budget_mode=new.budget_mode,
        budget_micros=budget,
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
    )


def create_campaign(tx: Tx, business_id: str, new: NewCampaign) -> Campaign:
    """Make a campaign.

    Raises:
        Refused: NO_ADVERTISER, INVALID.
    """
    campaign = plan_campaign(tx, business_id, new)
    store.save_campaign(tx, campaign)
    return campaign


def find_own_campaign(tx: Tx, account: AdAccount, number: int) -> Campaign:
    """A campaign of an ad account by the API's ``campaign_id``.

    Raises:
        Refused: NOT_FOUND.
    """
    campaign = store.find_campaign_by_number(tx, account.business_id, number)
    if campaign is None or campaign.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, "campaign_id: campaign not found.")
    return campaign


def update_campaign(tx: Tx, account: AdAccount, number: int, changes: CampaignChanges) -> Campaign:
    """Change the name or the budget of a campaign; its ads are published anew.

    Raises:
        Refused: NOT_FOUND, INVALID, CONFLICT.
    """
    campaign = find_own_campaign(tx, account, number)
    check_alive("campaign_id", campaign.status)
    check_seen(campaign.updated_at, changes.seen_at)
    name, budget, faults = changes.name, campaign.budget_micros, Faults()
    if name is not None:
        faults.read(lambda: check_name("campaign_name", name), "")
    if changes.budget_micros is not None:
        budget = faults.read(lambda: _changed_budget(account, campaign, changes.budget_micros or 0), None)
    faults.check()
    changed = replace(
        campaign,
        name=campaign.name if name is None else name.strip(),
        budget_micros=budget,
        updated_at=tx.now,
    )
    if not store.record_campaign(tx, campaign, changed):
        raise Refused(errors.CONFLICT)
    publish_ads(tx, account, NodeFilter(campaign_numbers=frozenset({number}), statuses=EVERY_STATUS))
    return changed


def _changed_budget(account: AdAccount, campaign: Campaign, budget_micros: int) -> int | None:
    budget = changed_budget(campaign.budget_mode, budget_micros)
    check_least(budget, account.currency)
    return budget


def change_campaign_status(tx: Tx, account: AdAccount, numbers: Sequence[int], status: NodeStatus) -> None:
    """Change the status of campaigns, of all or of none.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    campaigns = [store.find_campaign_by_number(tx, account.business_id, number) for number in numbers]
    for campaign in campaigns:
        if campaign is None or campaign.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND, "campaign_ids: campaign not found.")
        check_move(campaign.status, status)
        store.mark_campaign_status(tx, campaign, status)
