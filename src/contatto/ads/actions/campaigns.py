"""Creation and changes of campaigns, ad groups and ads."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads import store
from contatto.ads.model import (
    EVERY_STATUS,
    NODE_CLASSES,
    Ad,
    AdGroup,
    AdNode,
    Audit,
    BidType,
    BudgetMode,
    Campaign,
    ClickWindow,
    EventCount,
    Facts,
    Money,
    NodeFilter,
    NodeKind,
    NodeStatus,
    Pacing,
    ScheduleType,
    Spent,
    Targeting,
    ViewWindow,
    WelcomeMessage,
    targeting_of,
)
from contatto.ads.rules import settings
from contatto.ads.store import SpendPort, list_welcome_messages
from contatto.audiences.store import list_audiences
from contatto.capture import store as capture
from contatto.channels import store as channels
from contatto.channels.model import ChannelAccount
from contatto.channels.store import load_channel
from contatto.forms.actions import find_published
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import Faults
from contatto.kit.i18n import N_
from contatto.kit.ids import new_id, new_number
from contatto.kit.values import micros, read_number, to_units
from contatto.measurement import actions as measurement
from contatto.measurement.model import Goal, MeasuredAd
from contatto.measurement.rules import local_day


def find_channel(tx: Tx, business_id: str, account_id: str) -> ChannelAccount:
    """Return a channel account by our id, or by the id of its platform. Raises NOT_FOUND."""
    return load_channel(tx, business_id, account_id, "identity_id")


def choose_account(
    tx: Tx, ad_account: AdAccount, countries: tuple[str, ...], goal: Goal, account_id: str | None
) -> ChannelAccount:
    """Return the named channel account, else the one with the fewest obstacles to the goal.

    Raises NOT_FOUND, or INVALID when the business has no channel account at all.
    """
    if account_id:
        return find_channel(tx, ad_account.business_id, account_id)
    accounts = channels.list_accounts(tx, ad_account.business_id)
    if not accounts:
        raise Refused(errors.INVALID, "identity_id: this business has no channel account yet.")
    capturing = capture.list_capturing(tx, ad_account.business_id)
    obstacles: dict[str, int] = {}
    for account in accounts:
        capture_on = account.id in capturing
        facts = Facts(account.id, account.registration_country, ad_account.country, countries, capture_on)
        failed = sum(bool(result.failing) for result in settings.eligibility(goal, facts))
        obstacles[account.id] = failed * 2 + len(settings.next_steps(goal, facts))
    return min(accounts, key=lambda account: obstacles[account.id])


def load_facts(tx: Tx, ad_account: AdAccount, channel: ChannelAccount, countries: tuple[str, ...]) -> Facts:
    """Load the facts that the checks of a goal need."""
    capture_on = channel.id in capture.list_capturing(tx, channel.business_id)
    return Facts(channel.id, channel.registration_country, ad_account.country, countries, capture_on)


def load_ad_account(tx: Tx, business_id: str, ad_account_id: str) -> AdAccount:
    """Return an ad account by our id. Raises NO_ADVERTISER."""
    account = accounts.find_ad_account(tx, BusinessId(business_id), id=ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    return account


def _save_changed[T: AdNode](tx: Tx, account: AdAccount, before: T, changed: T) -> T:
    """Save a node that is still ``before``, and publish its ads again for attribution. Raises CONFLICT."""
    if not store.record_node(tx, before, changed):
        raise Refused(errors.CONFLICT)
    under: dict[str, Any] = {NUMBER_FILTERS[type(before)]: frozenset({before.number})}
    node_filter = NodeFilter(statuses=EVERY_STATUS, **under)
    ads = store.list_nodes(tx, Ad, account.business_id, account.id, node_filter)
    campaigns = store.load_nodes(tx, Campaign, account.business_id, {ad.campaign_id for ad in ads})
    groups = store.load_nodes(tx, AdGroup, account.business_id, {ad.ad_group_id for ad in ads})
    for ad in ads:
        channel = find_channel(tx, account.business_id, ad.channel_account_id)
        publish_one_ad(tx, ad, groups[ad.ad_group_id], campaigns[ad.campaign_id], (account, channel))
    return changed


def publish_one_ad(
    tx: Tx, ad: Ad, ad_group: AdGroup, campaign: Campaign, homes: tuple[AdAccount, ChannelAccount]
) -> None:
    """Publish the current ad for attribution; ``homes`` are its ad account and its channel account."""
    account, channel = homes
    message = find_welcome(tx, ad.business_id, ad.ad_account_id, ad.auto_message_id)
    measured = MeasuredAd(
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
        click_window_s=settings.WINDOW_SECONDS[ad_group.click_window],
        view_window_s=settings.WINDOW_SECONDS[ad_group.view_window],
        timezone=account.timezone,
        currency=account.currency,
        landing_path=channels.landing_path(channel),
        headline=ad.headline,
        text=ad.text,
        page_id=ad.page_id or ad_group.page_id,
        welcome=message.content if message else "",
        questions=message.questions if message else (),
        answers=message.answers if message else (),
    )
    measurement.publish_ad(tx, measured)


def find_welcome(tx: Tx, business_id: str, ad_account_id: str, auto_message_id: str) -> WelcomeMessage | None:
    """Return the welcome message with this id, if the ad account has it."""
    number = read_number(auto_message_id)
    if not number:
        return None
    welcome_messages = list_welcome_messages(tx, business_id, ad_account_id, [number])
    return welcome_messages[0] if welcome_messages else None


def check_message(tx: Tx, account: AdAccount, auto_message_id: str) -> None:
    """Refuse a welcome message that the ad account does not have; an empty id names none."""
    if auto_message_id and find_welcome(tx, account.business_id, account.id, auto_message_id) is None:
        raise Refused(errors.INVALID, "auto_message_id: welcome message not found.")


def check_form(tx: Tx, business_id: str, page_id: str) -> None:
    """Refuse a form that the business has not published; an empty id names none."""
    if page_id and find_published(tx, business_id, page_id) is None:
        raise Refused(errors.INVALID, "page_id: published form not found.")


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


def create_campaign(tx: Tx, business_id: str, new: NewCampaign) -> Campaign:
    """Make a campaign. Raises NO_ADVERTISER, INVALID."""
    account, faults = load_ad_account(tx, business_id, new.ad_account_id), Faults()
    name = faults.read(lambda: settings.check_name("campaign_name", new.name), "")
    budget = faults.read(lambda: settings.check_budget(new.budget_mode, new.budget_micros), None)
    faults.read(lambda: settings.check_least(budget, account.currency), None)
    faults.check()
    campaign = Campaign(
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
    store.save_node(tx, campaign)
    return campaign


NUMBER_FILTERS: Final = {Campaign: "campaign_numbers", AdGroup: "ad_group_numbers", Ad: "ad_numbers"}
"""Fields of `NodeFilter` with the API's ids of each kind of node."""
_MISSING: Final = {
    Campaign: N_("campaign_id: campaign not found."),
    AdGroup: N_("adgroup_id: ad group not found."),
    Ad: N_("ad_id: ad not found."),
}
_SOME_MISSING: Final = {
    NodeKind.CAMPAIGN: N_("campaign_ids: campaign not found."),
    NodeKind.AD_GROUP: N_("adgroup_ids: ad group not found."),
    NodeKind.AD: N_("ad_ids: ad not found."),
}


def find_own[T: AdNode](tx: Tx, kind: type[T], account: AdAccount, number: int) -> T:
    """Return a campaign, an ad group or an ad of an ad account by its id in the API. Raises NOT_FOUND."""
    node = store.find_node(tx, kind, account.business_id, number=number)
    if node is None or node.ad_account_id != account.id:
        raise Refused(errors.NOT_FOUND, _MISSING[kind])
    return node


def _find_editable[T: AdNode](
    tx: Tx, kind: type[T], account: AdAccount, number: int, seen_at: datetime | None
) -> T:
    """Return a node, unless it is deleted or has changed since ``seen_at`` (None: may have changed)."""
    node = find_own(tx, kind, account, number)
    if node.status is NodeStatus.DELETED:
        field = _MISSING[kind].partition(":")[0]
        raise Refused(errors.INVALID, "%(field)s: deleted items cannot be changed.", field=field)
    if seen_at is not None and seen_at != node.updated_at:
        raise Refused(errors.CONFLICT)
    return node


def update_campaign(tx: Tx, account: AdAccount, number: int, changes: CampaignChanges) -> Campaign:
    """Change the name or the budget of a campaign, and publish its ads again for attribution.

    Raises NOT_FOUND, INVALID, CONFLICT.
    """
    campaign = _find_editable(tx, Campaign, account, number, changes.seen_at)
    name, budget, faults = changes.name, campaign.budget_micros, Faults()
    if name is not None:
        faults.read(lambda: settings.check_name("campaign_name", name), "")
    if changes.budget_micros is not None:
        new_budget = changes.budget_micros
        budget = faults.read(lambda: settings.changed_budget(campaign.budget_mode, new_budget), None)
        faults.read(lambda: settings.check_least(budget, account.currency), None)
    faults.check()
    changed = replace(
        campaign,
        name=campaign.name if name is None else name.strip(),
        budget_micros=budget,
        updated_at=tx.now,
    )
    return _save_changed(tx, account, campaign, changed)


@dataclass(frozen=True, slots=True)
class NewAdGroup:
    """An ad group to make.

    Without a channel account, `choose_account` picks one. ``starts_at`` None means now.
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
    engaged_window: ViewWindow = ViewWindow.OFF
    event_count: EventCount = EventCount.UNSET
    status: NodeStatus = NodeStatus.ACTIVE
    page_id: str = ""
    location_ids: tuple[str, ...] = ()
    targeting: Targeting = field(default_factory=Targeting)
    frequency: int | None = None
    frequency_schedule: int | None = None


@dataclass(frozen=True, slots=True)
class AdGroupChanges:
    """Changes of the node; None leaves a value as it is.

    Goal, promotion type, budget mode and windows never change, so they are not here. ``targeting`` names the
    parts that change. A ``frequency`` of 0 ends the frequency cap. ``seen_at`` is the ``updated_at`` that
    the editor saw; without it the changes overwrite those of others.
    """

    name: str | None = None
    countries: tuple[str, ...] | None = None
    budget_micros: int | None = None
    bid_type: BidType | None = None
    bid_micros: int | None = None
    pacing: Pacing | None = None
    schedule_type: ScheduleType | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    page_id: str | None = None
    location_ids: tuple[str, ...] = ()
    targeting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frequency: int | None = None
    frequency_schedule: int | None = None
    seen_at: datetime | None = None


def create_ad_group(tx: Tx, business_id: str, new: NewAdGroup) -> AdGroup:
    """Make an ad group, if its goal passes the country checks and capture is on where needed.

    Raises NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    campaign = store.find_node(tx, Campaign, business_id, id=new.campaign_id)
    if campaign is None or campaign.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND, _MISSING[Campaign])
    account, faults = load_ad_account(tx, business_id, campaign.ad_account_id), Faults()
    name = faults.read(lambda: settings.check_name("adgroup_name", new.name), "")
    countries = faults.read(lambda: settings.check_countries(new.countries), ())
    sent_money = Money(new.budget_mode, new.budget_micros, new.bid_type, new.bid_micros)
    money = faults.read(lambda: settings.check_money(sent_money), replace(sent_money, budget_micros=None))
    faults.read(lambda: settings.check_least(money.budget_micros, account.currency), None)
    targeting = faults.read(lambda: _check_targeting(tx, account, new.targeting), new.targeting)
    schedule = (new.starts_at or tx.now, new.ends_at)
    faults.read(lambda: settings.check_schedule(schedule, tx.now), schedule)
    click, view = faults.read(
        lambda: settings.windows_of(new.click_window, new.view_window), settings.DEFAULT_WINDOWS
    )
    cap = faults.read(lambda: settings.cap_of(new.frequency, new.frequency_schedule), None)
    faults.read(lambda: check_form(tx, business_id, new.page_id), None)
    if not countries:
        faults.check()
    channel = faults.finish(lambda: _checked_channel(tx, account, countries, new))
    ad_group = AdGroup(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        campaign_id=campaign.id,
        ad_account_id=account.id,
        channel_account_id=channel.id,
        name=name,
        goal=new.goal,
        countries=countries,
        budget_mode=money.budget_mode,
        budget_micros=money.budget_micros,
        bid_type=money.bid_type,
        bid_micros=money.bid_micros,
        pacing=new.pacing,
        starts_at=schedule[0],
        ends_at=schedule[1],
        click_window=click,
        view_window=view,
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
        page_id=new.page_id,
        location_ids=new.location_ids,
        engaged_window=new.engaged_window,
        event_count=new.event_count,
        frequency=cap.views if cap else None,
        frequency_schedule=cap.days if cap else None,
        **asdict(targeting),
    )
    store.save_node(tx, ad_group)
    return ad_group


def _checked_channel(
    tx: Tx, account: AdAccount, countries: tuple[str, ...], new: NewAdGroup
) -> ChannelAccount:
    channel = choose_account(tx, account, countries, new.goal, new.channel_account_id)
    settings.check_goal(new.goal, load_facts(tx, account, channel, countries))
    return channel


def _check_targeting(
    tx: Tx, account: AdAccount, targeting: Targeting, existing: Collection[str] = ()
) -> Targeting:
    """Return the choices, each once and in order. Raises INVALID.

    An ``existing`` audience may stay after its deletion, as it has no members.
    """
    audiences = {*existing}
    if targeting.audience_ids or targeting.excluded_audience_ids:
        audiences |= {str(one.number) for one in list_audiences(tx, account.business_id, account.id)}
    both = sorted(set(targeting.audience_ids) & set(targeting.excluded_audience_ids))
    if both:
        problem = N_("excluded_audience_ids: audience %(audience)s is included as well.")
        raise Refused(errors.INVALID, problem, audience=both[0])
    allowed: Mapping[str, Collection[str]] = {
        "languages": settings.LANGUAGES,
        "age_groups": settings.AGES,
        "interest_category_ids": settings.INTERESTS,
        "audience_ids": audiences,
        "excluded_audience_ids": audiences,
    }
    checked = {name: tuple(sorted(set(getattr(targeting, name)))) for name in allowed}
    for name, values in checked.items():
        if "audience_ids" in name and len(getattr(targeting, name)) > settings.MOST_AUDIENCES:
            problem = N_("%(field)s: choose at most %(most)s.")
            raise Refused(errors.INVALID, problem, field=name, most=settings.MOST_AUDIENCES)
        unknown = [value for value in values if value not in allowed[name]]
        if unknown:
            problem = N_("%(field)s: %(value)s is not available.")
            raise Refused(errors.INVALID, problem, field=name, value=unknown[0])
    return Targeting(**checked)


def update_ad_group(tx: Tx, account: AdAccount, number: int, changes: AdGroupChanges) -> AdGroup:
    """Change an ad group, and publish its ads again for attribution.

    Only new target countries need to pass the checks of the goal, so that other settings can always change.

    Raises NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF, CONFLICT.
    """
    before = _find_editable(tx, AdGroup, account, number, changes.seen_at)
    name, page_id, faults = changes.name, changes.page_id, Faults()
    if name is not None:
        faults.read(lambda: settings.check_name("adgroup_name", name), "")
    as_before = Money(before.budget_mode, before.budget_micros, before.bid_type, before.bid_micros)
    money = faults.read(lambda: _changed_money(tx, account, before, changes), as_before)
    times = (changes.schedule_type, changes.starts_at, changes.ends_at)
    starts_at, ends_at = faults.read(
        lambda: settings.changed_schedule(before, times, tx.now), (before.starts_at, before.ends_at)
    )
    countries, sent_countries = before.countries, changes.countries
    if sent_countries is not None:
        countries = faults.read(lambda: settings.check_countries(sent_countries), before.countries)
    if countries != before.countries:
        channel = find_channel(tx, account.business_id, before.channel_account_id)
        faults.read(
            lambda: settings.check_goal(before.goal, load_facts(tx, account, channel, countries)), None
        )
    targeting = targeting_of(before)
    if changes.targeting:
        changed_parts = replace(targeting, **changes.targeting)
        existing = (*before.audience_ids, *before.excluded_audience_ids)
        targeting = faults.read(lambda: _check_targeting(tx, account, changed_parts, existing), targeting)
    views = before.frequency if changes.frequency is None else changes.frequency
    days = before.frequency_schedule if changes.frequency_schedule is None else changes.frequency_schedule
    cap = faults.read(lambda: settings.cap_of(views, days), before.cap)
    if page_id is not None and page_id != before.page_id:
        check_form(tx, account.business_id, page_id)
    faults.check()
    changed = replace(
        before,
        name=before.name if name is None else name.strip(),
        countries=countries,
        budget_micros=money.budget_micros,
        bid_type=money.bid_type,
        bid_micros=money.bid_micros,
        pacing=changes.pacing or before.pacing,
        starts_at=starts_at,
        ends_at=ends_at,
        page_id=before.page_id if page_id is None else page_id,
        location_ids=before.location_ids if changes.countries is None else changes.location_ids,
        updated_at=tx.now,
        frequency=cap.views if cap else None,
        frequency_schedule=cap.days if cap else None,
        **asdict(targeting),
    )
    return _save_changed(tx, account, before, changed)


def _changed_money(tx: Tx, account: AdAccount, before: AdGroup, changes: AdGroupChanges) -> Money:
    budget, mode = before.budget_micros, before.budget_mode
    if changes.budget_micros is not None:
        budget = settings.changed_budget(mode, changes.budget_micros)
    bid = before.bid_micros if changes.bid_micros is None else changes.bid_micros
    money = settings.check_money(Money(mode, budget, changes.bid_type or before.bid_type, bid))
    if changes.budget_micros is not None:
        settings.check_least(money.budget_micros, account.currency)
        if mode is BudgetMode.TOTAL:
            day = local_day(micros(tx.now), account.timezone)
            spent = tx.ports[SpendPort].list_spent(tx, before.business_id, {before.id}, day)
            spent_micros = spent.get(before.id, Spent()).ever_micros
            if (money.budget_micros or 0) < spent_micros:
                problem = N_("budget: %(spent)s is already spent. Enter at least this amount.")
                raise Refused(errors.INVALID, problem, spent=round(float(to_units(spent_micros)), 2))
    return money


@dataclass(frozen=True, slots=True)
class NewAd:
    """An ad to make; without a channel account it has that of its ad group."""

    ad_group_id: str
    name: str
    text: str = ""
    headline: str = ""
    channel_account_id: str | None = None
    ad_format: str = "SINGLE_VIDEO"
    call_to_action: str = settings.SEND_MESSAGE
    auto_message_id: str = ""
    page_id: str = ""
    video_id: str = ""
    status: NodeStatus = NodeStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class AdChanges:
    """Changes of the node; None leaves a value as it is. ``seen_at`` is as in ``AdGroupChanges``."""

    name: str | None = None
    text: str | None = None
    headline: str | None = None
    channel_account_id: str | None = None
    ad_format: str | None = None
    call_to_action: str | None = None
    auto_message_id: str | None = None
    page_id: str | None = None
    video_id: str | None = None
    seen_at: datetime | None = None


def create_ad(tx: Tx, business_id: str, new: NewAd, *, needs_review: bool = False) -> Ad:
    """Make an ad and publish it for attribution; with ``needs_review`` it waits for the operator.

    Raises NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF.
    """
    ad_group = store.find_node(tx, AdGroup, business_id, id=new.ad_group_id)
    if ad_group is None or ad_group.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND, _MISSING[AdGroup])
    campaign = check_found(store.find_node(tx, Campaign, business_id, id=ad_group.campaign_id))
    account = load_ad_account(tx, business_id, ad_group.ad_account_id)
    channel = find_channel(tx, business_id, new.channel_account_id or ad_group.channel_account_id)
    settings.check_goal(ad_group.goal, load_facts(tx, account, channel, ad_group.countries))
    name = settings.check_name("ad_name", new.name)
    check_message(tx, account, new.auto_message_id)
    check_form(tx, business_id, new.page_id)
    settings.check_allowed("call_to_action", new.call_to_action, settings.SEND_MESSAGE)
    ad = Ad(
        id=new_id(),
        business_id=business_id,
        number=new_number(),
        ad_group_id=ad_group.id,
        campaign_id=campaign.id,
        ad_account_id=account.id,
        channel_account_id=channel.id,
        name=name,
        headline=new.headline.strip() or channel.name,
        text=new.text.strip(),
        ad_format=new.ad_format,
        call_to_action=new.call_to_action,
        auto_message_id=new.auto_message_id,
        page_id=new.page_id,
        video_id=new.video_id,
        status=new.status,
        created_at=tx.now,
        updated_at=tx.now,
        audit=Audit.AUDITING if needs_review else Audit.PASS,
    )
    store.save_node(tx, ad)
    publish_one_ad(tx, ad, ad_group, campaign, (account, channel))
    return ad


def update_ad(
    tx: Tx, account: AdAccount, number: int, changes: AdChanges, *, needs_review: bool = False
) -> Ad:
    """Change an ad, and publish it again; with ``needs_review`` a visible change waits for the operator.

    Raises NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF, CONFLICT.
    """
    before = _find_editable(tx, Ad, account, number, changes.seen_at)
    changed_values = row_of(changes, without={"seen_at"})
    changed_values = {name: value.strip() for name, value in changed_values.items() if value is not None}
    if "name" in changed_values:
        settings.check_name("ad_name", changed_values["name"])
    settings.check_allowed(
        "call_to_action", changed_values.get("call_to_action", settings.SEND_MESSAGE), settings.SEND_MESSAGE
    )
    if changed_values.get("channel_account_id"):
        channel = find_channel(tx, account.business_id, changed_values["channel_account_id"])
        ad_group = store.find_node(tx, AdGroup, account.business_id, id=before.ad_group_id)
        if ad_group is not None and channel.id != before.channel_account_id:
            settings.check_goal(ad_group.goal, load_facts(tx, account, channel, ad_group.countries))
        changed_values["channel_account_id"] = channel.id
    if changed_values.get("auto_message_id", before.auto_message_id) != before.auto_message_id:
        check_message(tx, account, changed_values["auto_message_id"])
    if changed_values.get("page_id", before.page_id) != before.page_id:
        check_form(tx, account.business_id, changed_values["page_id"])
    changed = replace(before, **changed_values, updated_at=tx.now)
    is_visibly_changed = any(getattr(changed, part) != getattr(before, part) for part in settings.SHOWN_PARTS)
    if needs_review and is_visibly_changed:
        changed = replace(changed, audit=Audit.AUDITING, audit_reason="")
    return _save_changed(tx, account, before, changed)


def change_status(
    tx: Tx, account: AdAccount, kind: NodeKind, numbers: Sequence[int], status: NodeStatus
) -> None:
    """Change the status of campaigns, ad groups or ads, of all or of none. Raises NOT_FOUND, INVALID."""
    for number in numbers:
        node = store.find_node(tx, NODE_CLASSES[kind], account.business_id, number=number)
        if node is None or node.ad_account_id != account.id:
            raise Refused(errors.NOT_FOUND, _SOME_MISSING[kind])
        if node.status is NodeStatus.DELETED and status is not NodeStatus.DELETED:
            problem = N_("operation_status: %(now)s cannot change to %(wanted)s.")
            raise Refused(errors.INVALID, problem, now=node.status.value, wanted=status.value)
        store.mark_status(tx, node, status)


LONGEST_REASON: Final = 500


def audit_ad(tx: Tx, number: int, audit: Audit, text: str = "") -> Ad:
    """Approve an ad, or reject it for a reason that the business sees. For the operator.

    Raises NOT_FOUND; INVALID without a reason.
    """
    reason = text.strip()
    if audit is Audit.REJECTED and not 0 < len(reason) <= LONGEST_REASON:
        problem = N_("reason: enter what has to change, in 1 to %(most)s characters.")
        raise Refused(errors.INVALID, problem, most=LONGEST_REASON)
    ad = tx.find(Ad, sa.select(store.ads).where(store.ads.c.number == number))
    if ad is None or ad.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND, "Ad not found.")
    changed = replace(ad, audit=audit, audit_reason=reason, updated_at=tx.now)
    if not store.record_node(tx, ad, changed):
        raise Refused(errors.CONFLICT)
    return changed
