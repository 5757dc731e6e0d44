"""Tables of campaigns, ad groups and ads, and what is read and written there."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
    update,
)

from contatto.ads.model import (
    Ad,
    AdGroup,
    Audit,
    BidType,
    BillingEvent,
    BudgetMode,
    Campaign,
    ClickWindow,
    EventCount,
    NodeFilter,
    NodeStatus,
    Pacing,
    Page,
    ScheduleType,
    Targeting,
    ViewWindow,
)
from contatto.kit.db.hot import Seek
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Words, instant, key, metadata, row_of, tenant, text
from contatto.kit.db.within import within
from contatto.measurement.model import Goal


def _number() -> Column[int]:
    return Column("number", BigInteger, nullable=False, unique=True)


def _reference(name: str) -> Column[str]:
    return Column(name, String(36), nullable=False)


def _status() -> Column[NodeStatus]:
    return Column("status", Choice(NodeStatus), nullable=False)


def _words(name: str) -> Column[tuple[str, ...]]:
    return Column(name, Words, nullable=False, server_default="[]")


campaigns = Table(
    "campaigns",
    metadata,
    key(),
    tenant(),
    _number(),
    _reference("ad_account_id"),
    text("name"),
    Column("budget_mode", Choice(BudgetMode), nullable=False),
    Column("budget_micros", BigInteger),
    _status(),
    instant("created_at"),
    instant("updated_at"),
    Index("ix_campaigns_of_account", "business_id", "ad_account_id"),
)

ad_groups = Table(
    "ad_groups",
    metadata,
    key(),
    tenant(),
    _number(),
    _reference("campaign_id"),
    _reference("ad_account_id"),
    _reference("channel_account_id"),
    text("name"),
    Column("goal", Choice(Goal), nullable=False),
    Column("promotion_type", String(64), nullable=False),
    Column("countries", Words, nullable=False),
    Column("billing_event", Choice(BillingEvent), nullable=False),
    Column("budget_mode", Choice(BudgetMode), nullable=False),
    Column("budget_micros", BigInteger),
    Column("bid_type", Choice(BidType), nullable=False),
    Column("bid_micros", BigInteger),
    Column("pacing", Choice(Pacing), nullable=False),
    Column("schedule_type", Choice(ScheduleType), nullable=False),
    instant("starts_at"),
    instant("ends_at", nullable=True),
    Column("click_window", Choice(ClickWindow), nullable=False),
    Column("view_window", Choice(ViewWindow), nullable=False),
    _status(),
    instant("created_at"),
    instant("updated_at"),
    Column("page_id", String(64), nullable=False, server_default=""),
    *(_words(name) for name in ("location_ids", *Targeting.__dataclass_fields__)),
    Column("engaged_window", Choice(ViewWindow), nullable=False, server_default=ViewWindow.OFF.value),
    Column("event_count", Choice(EventCount), nullable=False, server_default=EventCount.UNSET.value),
    Column("frequency", Integer),
    Column("frequency_schedule", Integer),
    Index("ix_ad_groups_of_account", "business_id", "ad_account_id"),
    Index("ix_ad_groups_of_campaign", "business_id", "campaign_id"),
)

ads = Table(
    "ads",
    metadata,
    key(),
    tenant(),
    _number(),
    _reference("ad_group_id"),
    _reference("campaign_id"),
    _reference("ad_account_id"),
    _reference("channel_account_id"),
    text("name"),
    text("headline"),
    text("text"),
    Column("ad_format", String(64), nullable=False),
    Column("call_to_action", String(64), nullable=False),
    Column("auto_message_id", String(64), nullable=False),
    Column("page_id", String(64), nullable=False),
    Column("video_id", String(128), nullable=False),
    _status(),
    instant("created_at"),
    instant("updated_at"),
    Column("audit", Choice(Audit), nullable=False, server_default=Audit.PASS.value),
    text("audit_reason", default=""),
    Index("ix_ads_in_review", "audit"),
    Index("ix_ads_of_account", "business_id", "ad_account_id"),
    Index("ix_ads_of_group", "business_id", "ad_group_id"),
)


def save_campaign(tx: Tx, campaign: Campaign) -> None:
    tx.insert(campaigns, row_of(campaign))


def save_ad_group(tx: Tx, ad_group: AdGroup) -> None:
    tx.insert(ad_groups, row_of(ad_group))


def save_ad(tx: Tx, ad: Ad) -> None:
    tx.insert(ads, row_of(ad))


def record_campaign(tx: Tx, before: Campaign, changed: Campaign) -> bool:
    """Write a changed campaign over its row; False, and nothing, when the row is no longer ``before``."""
    return _record(tx, campaigns, before, changed)


def record_ad_group(tx: Tx, before: AdGroup, changed: AdGroup) -> bool:
    """Write a changed ad group over its row; False, and nothing, when the row is no longer ``before``."""
    return _record(tx, ad_groups, before, changed)


def record_ad(tx: Tx, before: Ad, changed: Ad) -> bool:
    """Write a changed ad over its row; False, and nothing, when the row is no longer ``before``."""
    return _record(tx, ads, before, changed)


def find_campaign(tx: Tx, business_id: str, campaign_id: str) -> Campaign | None:
    return tx.find(Campaign, _mine(campaigns, business_id, campaigns.c.id == campaign_id))


def find_campaign_by_number(tx: Tx, business_id: str, number: int) -> Campaign | None:
    """A campaign by the API's ``campaign_id``."""
    return tx.find(Campaign, _mine(campaigns, business_id, campaigns.c.number == number))


def find_ad_group(tx: Tx, business_id: str, ad_group_id: str) -> AdGroup | None:
    return tx.find(AdGroup, _mine(ad_groups, business_id, ad_groups.c.id == ad_group_id))


_NAMED_AD_GROUPS: Final = Seek(
    AdGroup,
    select(ad_groups).where(ad_groups.c.business_id == bindparam("of"), within(ad_groups.c.id, "named")),
)


def list_ad_groups_by_id(tx: Tx, business_id: str, ad_group_ids: Collection[str]) -> list[AdGroup]:
    """Ad groups by their ids; those that are not there are left out."""
    values = {"of": business_id, "named": ad_group_ids}
    return _NAMED_AD_GROUPS.list(tx, values) if ad_group_ids else []


_NAMED_CAMPAIGNS: Final = Seek(
    Campaign,
    select(campaigns).where(
        campaigns.c.business_id == bindparam("of"),
        within(campaigns.c.id, "named"),
        campaigns.c.budget_micros.is_not(None),
    ),
)


def list_campaigns_with_budget(tx: Tx, business_id: str, campaign_ids: Collection[str]) -> list[Campaign]:
    """Those of some campaigns that have a budget, by their ids."""
    values = {"of": business_id, "named": campaign_ids}
    return _NAMED_CAMPAIGNS.list(tx, values) if campaign_ids else []


def find_ad_group_by_number(tx: Tx, business_id: str, number: int) -> AdGroup | None:
    """An ad group by the API's ``adgroup_id``."""
    return tx.find(AdGroup, _mine(ad_groups, business_id, ad_groups.c.number == number))


def find_ad_by_number(tx: Tx, business_id: str, number: int) -> Ad | None:
    """An ad by the API's ``ad_id``."""
    return tx.find(Ad, _mine(ads, business_id, ads.c.number == number))


def list_ads_by_number(tx: Tx, business_id: str, numbers: Collection[int]) -> dict[int, Ad]:
    """Ads of a business by the API's ``ad_id``; those that are not there are left out."""
    return {each.number: each for each in tx.list(Ad, _mine(ads, business_id, ads.c.number.in_(numbers)))}


def list_accounts_of_ad_groups(tx: Tx, business_id: str, numbers: Collection[int]) -> dict[int, str]:
    """The ad accounts of ad groups by the API's ``adgroup_id``; those that are not there are left out."""
    wanted = select(ad_groups.c.number, ad_groups.c.ad_account_id).where(
        ad_groups.c.business_id == business_id, ad_groups.c.number.in_(sorted(numbers))
    )
    return dict(map(tuple, tx.execute(wanted))) if numbers else {}


def list_ads_by_name(tx: Tx, business_id: str, names: Collection[str]) -> list[Ad]:
    """All ads of a business that have one of some names."""
    return tx.list(Ad, _mine(ads, business_id, ads.c.name.in_(sorted(names)))) if names else []


def find_any_ad(tx: Tx, number: int) -> Ad | None:
    """An ad of whatever business by the API's ``ad_id``; for the operator."""
    return tx.find(Ad, select(ads).where(ads.c.number == number))


def load_campaigns(tx: Tx, business_id: str, ids: Iterable[str]) -> dict[str, Campaign]:
    """Campaigns by their ids."""
    found = tx.list(Campaign, _mine(campaigns, business_id, campaigns.c.id.in_(sorted(ids))))
    return {campaign.id: campaign for campaign in found}


def load_ad_groups(tx: Tx, business_id: str, ids: Iterable[str]) -> dict[str, AdGroup]:
    """Ad groups by their ids."""
    found = tx.list(AdGroup, _mine(ad_groups, business_id, ad_groups.c.id.in_(sorted(ids))))
    return {ad_group.id: ad_group for ad_group in found}


def list_campaigns(
    tx: Tx, business_id: str, ad_account_id: str, wanted: NodeFilter, page: Page
) -> list[Campaign]:
    """Campaigns of an ad account, newest first."""
    return tx.list(Campaign, _part(_campaigns(business_id, ad_account_id, wanted), campaigns, page))


def list_ad_groups(
    tx: Tx, business_id: str, ad_account_id: str, wanted: NodeFilter, page: Page
) -> list[AdGroup]:
    """Ad groups of an ad account, newest first."""
    return tx.list(AdGroup, _part(_ad_groups(business_id, ad_account_id, wanted), ad_groups, page))


def list_ads(tx: Tx, business_id: str, ad_account_id: str, wanted: NodeFilter, page: Page) -> list[Ad]:
    """Ads of an ad account, newest first."""
    return tx.list(Ad, _part(_ads(business_id, ad_account_id, wanted), ads, page))


def count_campaigns(tx: Tx, business_id: str, ad_account_id: str, wanted: NodeFilter) -> int:
    return _count(tx, _campaigns(business_id, ad_account_id, wanted))


def count_ad_groups(tx: Tx, business_id: str, ad_account_id: str, wanted: NodeFilter) -> int:
    return _count(tx, _ad_groups(business_id, ad_account_id, wanted))


def count_ads(tx: Tx, business_id: str, ad_account_id: str, wanted: NodeFilter) -> int:
    return _count(tx, _ads(business_id, ad_account_id, wanted))


def has_ad(tx: Tx, business_id: str) -> bool:
    """Whether a business has, or had, an ad."""
    return tx.execute(select(ads.c.id).where(ads.c.business_id == business_id).limit(1)).first() is not None


def list_ad_group_ids(tx: Tx, business_id: str, campaign_ids: Iterable[str]) -> dict[str, list[str]]:
    """All ad groups of campaigns, whatever their status, by the id of the campaign; each has a list."""
    under: dict[str, list[str]] = {campaign_id: [] for campaign_id in campaign_ids}
    wanted = select(ad_groups.c.campaign_id, ad_groups.c.id).where(
        ad_groups.c.business_id == business_id, ad_groups.c.campaign_id.in_(sorted(under))
    )
    for campaign_id, ad_group_id in map(tuple, tx.execute(wanted)):
        under[campaign_id].append(ad_group_id)
    return under


def list_ads_in_review(tx: Tx) -> list[Ad]:
    """Ads of every business that wait for their review, oldest first; for the operator."""
    waiting = select(ads).where(ads.c.audit == Audit.AUDITING, ads.c.status != NodeStatus.DELETED)
    return tx.list(Ad, waiting.order_by(ads.c.updated_at, ads.c.number))


def mark_campaign_status(tx: Tx, campaign: Campaign, status: NodeStatus) -> None:
    """Set a campaign's status; deletion takes all that is under it along."""
    _mark(tx, campaigns, campaign.business_id, campaigns.c.id == campaign.id, status)
    if status is NodeStatus.DELETED:
        _mark(tx, ad_groups, campaign.business_id, ad_groups.c.campaign_id == campaign.id, status)
        _mark(tx, ads, campaign.business_id, ads.c.campaign_id == campaign.id, status)


def mark_ad_group_status(tx: Tx, ad_group: AdGroup, status: NodeStatus) -> None:
    """Set an ad group's status; deletion takes its ads along."""
    _mark(tx, ad_groups, ad_group.business_id, ad_groups.c.id == ad_group.id, status)
    if status is NodeStatus.DELETED:
        _mark(tx, ads, ad_group.business_id, ads.c.ad_group_id == ad_group.id, status)


def mark_ad_status(tx: Tx, ad: Ad, status: NodeStatus) -> None:
    _mark(tx, ads, ad.business_id, ads.c.id == ad.id, status)


def _mine(table: Table, business_id: str, *conditions: ColumnElement[bool]) -> Select[Any]:
    return select(table).where(table.c.business_id == business_id, *conditions)


def _campaigns(business_id: str, ad_account_id: str, wanted: NodeFilter) -> Select[Any]:
    found = _of_account(campaigns, business_id, ad_account_id, wanted)
    return _limited(found, campaigns.c.number, wanted.campaign_numbers)


def _ad_groups(business_id: str, ad_account_id: str, wanted: NodeFilter) -> Select[Any]:
    found = _of_account(ad_groups, business_id, ad_account_id, wanted)
    if wanted.campaign_numbers is not None:
        under = select(campaigns.c.id).where(campaigns.c.business_id == business_id)
        roofs = _limited(under, campaigns.c.number, wanted.campaign_numbers)
        found = found.where(ad_groups.c.campaign_id.in_(roofs))
    if wanted.goals is not None:
        found = found.where(ad_groups.c.goal.in_(sorted(wanted.goals)))
    return _limited(found, ad_groups.c.number, wanted.ad_group_numbers)


def _ads(business_id: str, ad_account_id: str, wanted: NodeFilter) -> Select[Any]:
    found = _of_account(ads, business_id, ad_account_id, wanted)
    if wanted.campaign_numbers is not None:
        under = select(campaigns.c.id).where(campaigns.c.business_id == business_id)
        roofs = _limited(under, campaigns.c.number, wanted.campaign_numbers)
        found = found.where(ads.c.campaign_id.in_(roofs))
    if wanted.ad_group_numbers is not None or wanted.goals is not None:
        under = select(ad_groups.c.id).where(ad_groups.c.business_id == business_id)
        groups = _limited(under, ad_groups.c.number, wanted.ad_group_numbers)
        if wanted.goals is not None:
            groups = groups.where(ad_groups.c.goal.in_(sorted(wanted.goals)))
        found = found.where(ads.c.ad_group_id.in_(groups))
    return _limited(found, ads.c.number, wanted.ad_numbers)


def _of_account(table: Table, business_id: str, ad_account_id: str, wanted: NodeFilter) -> Select[Any]:
    found = _mine(table, business_id, table.c.ad_account_id == ad_account_id)
    found = found.where(table.c.status.in_(sorted(wanted.statuses)))
    if wanted.name_part:
        found = found.where(func.lower(table.c.name).contains(wanted.name_part.lower(), autoescape=True))
    return found


def _limited(found: Select[Any], column: Column[Any], numbers: frozenset[int] | None) -> Select[Any]:
    return found if numbers is None else found.where(column.in_(sorted(numbers)))


def _part(found: Select[Any], table: Table, page: Page) -> Select[Any]:
    return found.order_by(table.c.number.desc()).limit(page.size).offset((page.number - 1) * page.size)


def _count(tx: Tx, found: Select[Any]) -> int:
    return int(tx.scalar(select(func.count()).select_from(found.subquery())))


def _record[T: (Campaign, AdGroup, Ad)](tx: Tx, table: Table, before: T, changed: T) -> bool:
    mine = update(table).where(
        table.c.business_id == before.business_id,
        table.c.id == before.id,
        table.c.updated_at == before.updated_at,
    )
    row = row_of(changed)
    return tx.execute(mine.values(row)).rowcount == 1


def _mark(tx: Tx, table: Table, business_id: str, which: ColumnElement[bool], status: NodeStatus) -> None:
    mine = update(table).where(table.c.business_id == business_id, which)
    tx.execute(mine.values(status=status, updated_at=tx.now))
