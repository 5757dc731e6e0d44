"""Changes to campaigns, ad groups and ads; measuring hears of every ad that changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads import store
from contatto.ads.model import (
    DIRECT_MESSAGE,
    Ad,
    AdGroup,
    BidType,
    BudgetMode,
    Campaign,
    ClickWindow,
    Facts,
    Money,
    Pacing,
    Schedule,
    ScheduleType,
    Status,
    ViewWindow,
)
from contatto.ads.rules import goals, settings, statuses
from contatto.ads.rules.markets import normal_countries
from contatto.capture import store as capture
from contatto.channels import registry as channel_registry
from contatto.channels import store as channels
from contatto.channels.model import ChannelAccount
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.measurement import actions as measurement
from contatto.measurement.model import Goal, MeasuredAd


@dataclass(frozen=True, slots=True)
class NewCampaign:
    ad_account_id: str
    name: str
    budget_mode: BudgetMode = BudgetMode.INFINITE
    budget_micros: int | None = None
    status: Status = Status.ACTIVE


@dataclass(frozen=True, slots=True)
class NewAdGroup:
    """An ad group to make.

    Without a channel account the first one that may have the goal is taken. ``starts_at`` None means now.
    Windows are both given, or neither for the default of 7 days after a click and 1 day after a view.
    """

    campaign_id: str
    name: str
    goal: Goal
    countries: tuple[str, ...]
    channel_account_id: str | None = None
    budget_mode: BudgetMode = BudgetMode.DYNAMIC_DAY
    budget_micros: int | None = 50_000_000
    bid_type: BidType = BidType.NO_BID
    bid_micros: int | None = None
    pacing: Pacing = Pacing.SMOOTH
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    click_window: ClickWindow | None = None
    view_window: ViewWindow | None = None
    status: Status = Status.ACTIVE
    page_id: str = ""


@dataclass(frozen=True, slots=True)
class NewAd:
    """An ad to make; without a channel account it speaks for the one of its ad group."""

    ad_group_id: str
    name: str
    text: str
    headline: str = ""
    channel_account_id: str | None = None
    ad_format: str = "SINGLE_VIDEO"
    call_to_action: str = settings.SEND_MESSAGE
    auto_message_id: str = ""
    page_id: str = ""
    video_id: str = ""
    status: Status = Status.ACTIVE


def create_campaign(tx: Tx, business_id: str, new: NewCampaign) -> Campaign:
    """Make a campaign.

    Raises:
        Refused: NO_ADVERTISER, INVALID.
    """
    account = _ad_account(tx, business_id, new.ad_account_id)
    campaign = Campaign(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        ad_account_id=account.id,
        name=settings.check_name("campaign_name", new.name),
        budget_mode=new.budget_mode,
        budget_micros=settings.check_budget(new.budget_mode, new.budget_micros),
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_campaign(tx, campaign)
    return campaign


def create_ad_group(tx: Tx, business_id: str, new: NewAdGroup) -> AdGroup:
    """Make an ad group, if its goal is available for the three countries and capture is on where needed.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    campaign = store.find_campaign(tx, business_id, new.campaign_id)
    if campaign is None or campaign.status is Status.DELETED:
        raise Refused(errors.NOT_FOUND, "campaign_id: there is no such campaign.")
    ad_account = _ad_account(tx, business_id, campaign.ad_account_id)
    countries = normal_countries(new.countries)
    if not countries:
        raise Refused(errors.INVALID, "location_ids: choose at least one country.")
    money = settings.check_money(Money(new.budget_mode, new.budget_micros, new.bid_type, new.bid_micros))
    schedule = _schedule(tx, new)
    windows = settings.windows_of(new.click_window, new.view_window)
    channel = choose_account(tx, ad_account, countries, new.goal, new.channel_account_id)
    goals.check_goal(new.goal, load_facts(tx, ad_account, channel, countries))
    ad_group = AdGroup(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        campaign_id=campaign.id,
        ad_account_id=ad_account.id,
        channel_account_id=channel.id,
        name=settings.check_name("adgroup_name", new.name),
        goal=new.goal,
        promotion_type=DIRECT_MESSAGE,
        countries=countries,
        billing_event=goals.BILLING_EVENTS[new.goal],
        budget_mode=money.budget_mode,
        budget_micros=money.budget_micros,
        bid_type=money.bid_type,
        bid_micros=money.bid_micros,
        pacing=new.pacing,
        schedule_type=schedule.kind,
        starts_at=schedule.starts_at,
        ends_at=schedule.ends_at,
        click_window=windows.click,
        view_window=windows.view,
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
        page_id=new.page_id,
    )
    store.save_ad_group(tx, ad_group)
    return ad_group


def create_ad(tx: Tx, business_id: str, new: NewAd) -> Ad:
    """Make an ad and tell measuring of it.

    Raises:
        Refused: NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    ad_group = store.find_ad_group(tx, business_id, new.ad_group_id)
    if ad_group is None or ad_group.status is Status.DELETED:
        raise Refused(errors.NOT_FOUND, "adgroup_id: there is no such ad group.")
    campaign = store.find_campaign(tx, business_id, ad_group.campaign_id)
    if campaign is None:
        raise Refused(errors.NOT_FOUND)
    ad_account = _ad_account(tx, business_id, ad_group.ad_account_id)
    channel = find_channel(tx, business_id, new.channel_account_id or ad_group.channel_account_id)
    goals.check_goal(ad_group.goal, load_facts(tx, ad_account, channel, ad_group.countries))
    name = settings.check_name("ad_name", new.name)
    ad = Ad(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        ad_group_id=ad_group.id,
        campaign_id=ad_group.campaign_id,
        ad_account_id=ad_group.ad_account_id,
        channel_account_id=channel.id,
        name=name,
        headline=new.headline.strip() or channel.name,
        text=new.text.strip(),
        ad_format=new.ad_format,
        call_to_action=settings.check_call_to_action(new.call_to_action),
        auto_message_id=new.auto_message_id,
        page_id=new.page_id,
        video_id=new.video_id,
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.save_ad(tx, ad)
    measurement.publish_ad(tx, measured_ad(ad, ad_group, campaign, (ad_account, channel)))
    return ad


def change_campaign_status(tx: Tx, account: AdAccount, numbers: Sequence[int], status: Status) -> None:
    """Change the status of campaigns, of all or of none.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    found = [store.find_campaign_by_number(tx, account.business_id, number) for number in numbers]
    for campaign in found:
        if campaign is None or campaign.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND, "campaign_ids: there is no such campaign.")
        statuses.check_move(campaign.status, status)
        store.mark_campaign_status(tx, campaign, status)


def change_ad_group_status(tx: Tx, account: AdAccount, numbers: Sequence[int], status: Status) -> None:
    """Change the status of ad groups, of all or of none.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    found = [store.find_ad_group_by_number(tx, account.business_id, number) for number in numbers]
    for ad_group in found:
        if ad_group is None or ad_group.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND, "adgroup_ids: there is no such ad group.")
        statuses.check_move(ad_group.status, status)
        store.mark_ad_group_status(tx, ad_group, status)


def change_ad_status(tx: Tx, account: AdAccount, numbers: Sequence[int], status: Status) -> None:
    """Change the status of ads, of all or of none.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    found = [store.find_ad_by_number(tx, account.business_id, number) for number in numbers]
    for ad in found:
        if ad is None or ad.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND, "ad_ids: there is no such ad.")
        statuses.check_move(ad.status, status)
        store.mark_ad_status(tx, ad, status)


def find_advertiser(tx: Tx, business_id: str, number: int) -> AdAccount:
    """An ad account by the API's ``advertiser_id``.

    Raises:
        Refused: NO_ADVERTISER.
    """
    account = accounts.find_ad_account_by_number(tx, BusinessId(business_id), number)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return account


def find_channel(tx: Tx, business_id: str, account_id: str) -> ChannelAccount:
    """A channel account by our id of it, or by its platform's.

    Raises:
        Refused: NOT_FOUND.
    """
    found = channels.find_account(tx, business_id, account_id)
    if found is not None:
        return found
    for account in channels.list_accounts(tx, business_id):
        if account.external_id == account_id:
            return account
    raise Refused(errors.NOT_FOUND, "identity_id: there is no such channel account.")


def choose_account(
    tx: Tx, ad_account: AdAccount, countries: tuple[str, ...], goal: Goal, account_id: str | None
) -> ChannelAccount:
    """The channel account that was named, else the first for which nothing stands in the goal's way.

    Raises:
        Refused: NOT_FOUND, or INVALID when the business has no channel account at all.
    """
    if account_id:
        return find_channel(tx, ad_account.business_id, account_id)
    known = channels.list_accounts(tx, ad_account.business_id)
    if not known:
        raise Refused(errors.INVALID, "identity_id: this business has no channel account yet.")

    def hurdles(account: ChannelAccount) -> int:
        facts = load_facts(tx, ad_account, account, countries)
        failed = sum(not result.passed for result in goals.eligibility(goal, facts))
        return failed * 2 + len(goals.next_steps(goal, facts))

    return min(known, key=hurdles)


def load_facts(tx: Tx, ad_account: AdAccount, channel: ChannelAccount, countries: tuple[str, ...]) -> Facts:
    """What the checks of a goal need to know."""
    return Facts(
        channel_account_id=channel.id,
        account_country=channel.registration_country,
        ad_account_country=ad_account.country,
        target_countries=countries,
        capture_on=capture.is_capture_on(tx, channel.business_id, channel.id),
    )


def _ad_account(tx: Tx, business_id: str, ad_account_id: str) -> AdAccount:
    account = accounts.find_ad_account(tx, BusinessId(business_id), ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return account


def _schedule(tx: Tx, new: NewAdGroup) -> Schedule:
    kind = ScheduleType.FROM_NOW if new.ends_at is None else ScheduleType.START_END
    return settings.check_schedule(Schedule(kind, new.starts_at or tx.now, new.ends_at), tx.now)


def measured_ad(
    ad: Ad, ad_group: AdGroup, campaign: Campaign, homes: tuple[AdAccount, ChannelAccount]
) -> MeasuredAd:
    """What measuring must know of an ad; ``homes`` are its ad account and its channel account."""
    account, channel = homes
    return MeasuredAd(
        ad_id=ad.id,
        ad_number=ad.number,
        ad_name=ad.name,
        ad_group_id=ad_group.id,
        ad_group_number=ad_group.number,
        ad_group_name=ad_group.name,
        campaign_id=campaign.id,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        business_id=ad.business_id,
        ad_account_id=account.id,
        channel_account_id=channel.id,
        goal=ad_group.goal,
        click_window_s=settings.window_seconds(ad_group.click_window),
        view_window_s=settings.window_seconds(ad_group.view_window),
        timezone=account.timezone,
        currency=account.currency,
        landing_path=channel_registry.landing_path(channel),
        headline=ad.headline,
        text=ad.text,
        page_id=ad.page_id or ad_group.page_id,
    )
