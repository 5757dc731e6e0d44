"""Tables of campaigns, ad groups, ads, welcome messages and drafts."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from contatto.ads.model import (
    EVERY_STATUS,
    Ad,
    AdGroup,
    AdNode,
    Audit,
    BidType,
    BudgetMode,
    Campaign,
    ClickWindow,
    Draft,
    EventCount,
    LiveAd,
    NodeFilter,
    NodeKind,
    NodeStatus,
    Pacing,
    Page,
    Place,
    Spent,
    Targeting,
    ViewWindow,
    WelcomeMessage,
)
from contatto.kit.db.statements import PreparedQuery, QuerySnapshot
from contatto.kit.db.tx import (
    ROW,
    Choice,
    Tx,
    Words,
    instant,
    key,
    metadata,
    row_of,
    rows_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.measurement.model import Goal


def _reference(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(36), nullable=False)


campaigns = sa.Table(
    "campaigns",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    _reference("ad_account_id"),
    text("name"),
    sa.Column("budget_mode", Choice(BudgetMode), nullable=False),
    sa.Column("budget_micros", sa.BigInteger),
    sa.Column("status", Choice(NodeStatus), nullable=False),
    instant("created_at"),
    instant("updated_at"),
    sa.Index("ix_campaigns_of_account", "business_id", "ad_account_id"),
)

ad_groups = sa.Table(
    "ad_groups",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    _reference("campaign_id"),
    _reference("ad_account_id"),
    _reference("channel_account_id"),
    text("name"),
    sa.Column("goal", Choice(Goal), nullable=False),
    sa.Column("countries", Words, nullable=False),
    sa.Column("budget_mode", Choice(BudgetMode), nullable=False),
    sa.Column("budget_micros", sa.BigInteger),
    sa.Column("bid_type", Choice(BidType), nullable=False),
    sa.Column("bid_micros", sa.BigInteger),
    sa.Column("pacing", Choice(Pacing), nullable=False),
    instant("starts_at"),
    instant("ends_at", nullable=True),
    sa.Column("click_window", Choice(ClickWindow), nullable=False),
    sa.Column("view_window", Choice(ViewWindow), nullable=False),
    sa.Column("status", Choice(NodeStatus), nullable=False),
    instant("created_at"),
    instant("updated_at"),
    sa.Column("page_id", sa.String(64), nullable=False, server_default=""),
    *(
        sa.Column(name, Words, nullable=False, server_default="[]")
        for name in ("location_ids", *Targeting.__dataclass_fields__)
    ),
    sa.Column("engaged_window", Choice(ViewWindow), nullable=False, server_default=ViewWindow.OFF.value),
    sa.Column("event_count", Choice(EventCount), nullable=False, server_default=EventCount.UNSET.value),
    sa.Column("frequency", sa.Integer),
    sa.Column("frequency_schedule", sa.Integer),
    sa.Index("ix_ad_groups_of_account", "business_id", "ad_account_id"),
    sa.Index("ix_ad_groups_of_campaign", "business_id", "campaign_id"),
)

ads = sa.Table(
    "ads",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    _reference("ad_group_id"),
    _reference("campaign_id"),
    _reference("ad_account_id"),
    _reference("channel_account_id"),
    text("name"),
    text("headline"),
    text("text"),
    sa.Column("ad_format", sa.String(64), nullable=False),
    sa.Column("call_to_action", sa.String(64), nullable=False),
    sa.Column("auto_message_id", sa.String(64), nullable=False),
    sa.Column("page_id", sa.String(64), nullable=False),
    sa.Column("video_id", sa.String(128), nullable=False),
    sa.Column("status", Choice(NodeStatus), nullable=False),
    instant("created_at"),
    instant("updated_at"),
    sa.Column("audit", Choice(Audit), nullable=False, server_default=Audit.PASS.value),
    text("audit_reason", default=""),
    sa.Index("ix_ads_in_review", "audit"),
    sa.Index("ix_ads_of_account", "business_id", "ad_account_id"),
    sa.Index("ix_ads_of_group", "business_id", "ad_group_id"),
)


_TABLES: Final[dict[type[Any], sa.Table]] = {Campaign: campaigns, AdGroup: ad_groups, Ad: ads}


def save_node(tx: Tx, node: AdNode) -> None:
    tx.insert(_TABLES[type(node)], row_of(node))


def record_node[T: AdNode](tx: Tx, before: T, changed: T) -> bool:
    """Update a node's row, unless it has changed since ``before``; report whether it was updated."""
    table, values = _TABLES[type(before)], row_of(changed, without={"business_id"})
    is_unchanged = table.c.updated_at == before.updated_at
    return tx.change(table, before.business_id, before.id, is_unchanged, **values)


def find_node[T: AdNode](tx: Tx, kind: type[T], business_id: str, **key: str | int) -> T | None:
    """Return a campaign, an ad group or an ad by its ``id``, or by its ``number`` in the API."""
    table = _TABLES[kind]
    return tx.find(kind, sa.select(table).where(*rows_of(table, business_id, **key)))


def list_ads(tx: Tx, business_id: str, **key: list[str] | list[int]) -> list[Ad]:
    """Return all ads of a business by their ``name``, or by their ``number`` in the API."""
    return tx.list(Ad, sa.select(ads).where(*rows_of(ads, business_id, **key)))


_BY_ID: Final[dict[type[Any], PreparedQuery[Any]]] = {
    kind: PreparedQuery(
        kind, sa.select(table).where(table.c.business_id == sa.bindparam("of"), within(table.c.id, "named"))
    )
    for kind, table in _TABLES.items()
}


def load_nodes[T: AdNode](tx: Tx, kind: type[T], business_id: str, ids: Iterable[str]) -> dict[str, T]:
    """Load campaigns, ad groups or ads by their ids, without missing ones."""
    named = sorted(ids)
    nodes: list[T] = _BY_ID[kind].list(tx, {"of": business_id, "named": named}) if named else []
    return {node.id: node for node in nodes}


def list_nodes[T: AdNode](
    tx: Tx,
    kind: type[T],
    business_id: str,
    ad_account_id: str,
    node_filter: NodeFilter,
    page: Page | None = None,
) -> list[T]:
    """List campaigns, ad groups or ads of an ad account, newest first."""
    query = _filtered(kind, business_id, ad_account_id, node_filter).order_by(_TABLES[kind].c.number.desc())
    if page is not None:
        query = query.limit(page.size).offset((page.number - 1) * page.size)
    return tx.list(kind, query)


def count_nodes[T: AdNode](
    tx: Tx, kind: type[T], business_id: str, ad_account_id: str, node_filter: NodeFilter
) -> int:
    query = _filtered(kind, business_id, ad_account_id, node_filter)
    return int(tx.scalar(sa.select(sa.func.count()).select_from(query.subquery())))


def _filtered[T: AdNode](
    kind: type[T], business_id: str, ad_account_id: str, node_filter: NodeFilter
) -> sa.Select[Any]:
    table = _TABLES[kind]
    own = {"ad_account_id": ad_account_id, "status": sorted(node_filter.statuses)}
    query = sa.select(table).where(*rows_of(table, business_id, **own))
    if node_filter.name_part:
        query = query.where(
            sa.func.lower(table.c.name).contains(node_filter.name_part.lower(), autoescape=True)
        )
    numbers = {
        Campaign: node_filter.campaign_numbers,
        AdGroup: node_filter.ad_group_numbers,
        Ad: node_filter.ad_numbers,
    }[kind]
    if numbers is not None:
        query = query.where(table.c.number.in_(sorted(numbers)))
    if kind is AdGroup and node_filter.goals is not None:
        query = query.where(ad_groups.c.goal.in_(sorted(node_filter.goals)))
    if kind is not Campaign and node_filter.campaign_numbers is not None:
        named_campaigns = rows_of(campaigns, business_id, number=sorted(node_filter.campaign_numbers))
        query = query.where(table.c.campaign_id.in_(sa.select(campaigns.c.id).where(*named_campaigns)))
    if kind is Ad and (node_filter.ad_group_numbers is not None or node_filter.goals is not None):
        group_filter = NodeFilter(
            ad_group_numbers=node_filter.ad_group_numbers, statuses=EVERY_STATUS, goals=node_filter.goals
        )
        groups = _filtered(AdGroup, business_id, ad_account_id, group_filter)
        query = query.where(ads.c.ad_group_id.in_(groups.with_only_columns(ad_groups.c.id)))
    return query


def has_ad(tx: Tx, business_id: str) -> bool:
    """Report whether a business has, or had, an ad."""
    return (
        tx.execute(sa.select(ads.c.id).where(ads.c.business_id == business_id).limit(1)).first() is not None
    )


def list_ad_group_ids(tx: Tx, business_id: str, campaign_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return all ad groups of campaigns, in any status, by the id of the campaign; each has a list."""
    under: dict[str, list[str]] = {campaign_id: [] for campaign_id in campaign_ids}
    query = sa.select(ad_groups.c.campaign_id, ad_groups.c.id).where(
        ad_groups.c.business_id == business_id, ad_groups.c.campaign_id.in_(sorted(under))
    )
    for campaign_id, ad_group_id in map(tuple, tx.execute(query)):
        under[campaign_id].append(ad_group_id)
    return under


def list_ads_in_review(tx: Tx) -> list[Ad]:
    """Return ads of every business that wait for their review, oldest first; for the operator."""
    in_review = sa.select(ads).where(ads.c.audit == Audit.AUDITING, ads.c.status != NodeStatus.DELETED)
    return tx.list(Ad, in_review.order_by(ads.c.updated_at, ads.c.number))


def mark_status(tx: Tx, node: AdNode, status: NodeStatus) -> None:
    """Set the status of a node; deletion includes all nodes below it."""
    selections = [(_TABLES[type(node)].c.id == node.id, _TABLES[type(node)])]
    if status is NodeStatus.DELETED and isinstance(node, Campaign):
        selections += [(table.c.campaign_id == node.id, table) for table in (ad_groups, ads)]
    if status is NodeStatus.DELETED and isinstance(node, AdGroup):
        selections.append((ads.c.ad_group_id == node.id, ads))
    for condition, table in selections:
        statement = sa.update(table).where(table.c.business_id == node.business_id, condition)
        tx.execute(statement.values(status=status, updated_at=tx.now))


def _active(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.Select[tuple[object, ...]]:
    condition = table.c.business_id == sa.bindparam("of")
    return sa.select(table).where(condition, table.c.status == NodeStatus.ACTIVE, *conditions)


_CAMPAIGNS: Final = PreparedQuery(Campaign, _active(campaigns).order_by(campaigns.c.number))
_AD_GROUPS: Final = PreparedQuery(AdGroup, _active(ad_groups).order_by(ad_groups.c.number))
_ADS: Final = PreparedQuery(Ad, _active(ads, ads.c.audit == Audit.PASS).order_by(ads.c.number))


@dataclass(frozen=True, slots=True)
class LiveNodes:
    """The live ads of a business, and the active nodes that they are made of."""

    live: tuple[LiveAd, ...]
    campaigns: QuerySnapshot[Campaign]
    ad_groups: QuerySnapshot[AdGroup]
    ads: QuerySnapshot[Ad]


def load_live_nodes(tx: Tx, business_id: str, before: LiveNodes | None = None) -> LiveNodes:
    """Load live nodes, or return ``before`` itself where nothing has changed since."""
    values = {"of": business_id}
    nodes = (
        _CAMPAIGNS.list_again(tx, values, None if before is None else before.campaigns),
        _AD_GROUPS.list_again(tx, values, None if before is None else before.ad_groups),
        _ADS.list_again(tx, values, None if before is None else before.ads),
    )
    if before is not None and nodes == (before.campaigns, before.ad_groups, before.ads):
        return before
    by_campaign = {campaign.id: campaign for campaign in nodes[0].all}
    by_group = {group.id: group for group in nodes[1].all}
    live = tuple(
        LiveAd(ad, by_group[ad.ad_group_id], by_campaign[ad.campaign_id])
        for ad in nodes[2].all
        if ad.ad_group_id in by_group and ad.campaign_id in by_campaign
    )
    return LiveNodes(live, *nodes)


welcome_messages = sa.Table(
    "welcome_messages",
    metadata,
    key(),
    tenant(),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    text("title"),
    text("content"),
    sa.Column("questions", Words, nullable=False),
    sa.Column("answers", Words, nullable=False),
    instant("created_at"),
    sa.Index("ix_welcome_messages_of_account", "business_id", "ad_account_id"),
)


def list_welcome_messages(
    tx: Tx, business_id: str, ad_account_id: str, numbers: Iterable[int] | None = None
) -> list[WelcomeMessage]:
    """List the welcome messages of an ad account, newest first: all, or those with the numbers."""
    query = sa.select(welcome_messages).where(
        welcome_messages.c.business_id == business_id, welcome_messages.c.ad_account_id == ad_account_id
    )
    if numbers is not None:
        query = query.where(welcome_messages.c.number.in_(sorted(numbers)))
    return tx.list(WelcomeMessage, query.order_by(welcome_messages.c.number.desc()))


ad_drafts = sa.Table(
    "ad_drafts",
    metadata,
    key(),
    tenant(),
    sa.Column("member_id", sa.String(36), nullable=False),
    sa.Column("kind", Choice(NodeKind), nullable=False),
    sa.Column("parent", sa.BigInteger, nullable=False),
    sealed("typed", nullable=True),
    instant("saved_at"),
    sa.Index("uq_ad_drafts_place", "business_id", "member_id", "kind", "parent", unique=True),
    sa.Index("ix_ad_drafts_saved_at", "saved_at"),
    info={ROW: ("member_id", "kind", "parent")},
)


def find_draft(tx: Tx, business_id: str, member_id: str, place: Place) -> Draft | None:
    """Return a draft by the kind of its node and the number of its parent (0 for a campaign)."""
    kind, parent = place
    where = rows_of(ad_drafts, business_id, member_id=member_id, kind=kind, parent=parent)
    return tx.find(Draft, sa.select(ad_drafts).where(*where))


def delete_draft(tx: Tx, business_id: str, member_id: str, place: Place) -> None:
    kind, parent = place
    tx.delete(ad_drafts, business_id, member_id=member_id, kind=kind, parent=parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendPort:
    """Spend of ad groups, from counters that each charge updates.

    Attributes:
        list_spent: spend by ad group id, on a day (``YYYY-MM-DD``) of the ad account's zone and in total;
            without ad groups that never spent.
    """

    list_spent: Callable[[Tx, str, Collection[str], str], dict[str, Spent]]
