"""Tables of measured ads, touches and conversions with their winners."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from contatto.kit.db.statements import PreparedQuery, Query, add_counts, write_rows
from contatto.kit.db.tx import (
    Choice,
    Row,
    Tx,
    Words,
    insert_for,
    instant,
    key,
    metadata,
    only,
    rows_of,
    tenant,
    text,
    within,
)
from contatto.kit.values import micros
from contatto.measurement import model
from contatto.measurement.rules import conversion_number

measured_ads = sa.Table(
    "measured_ads",
    metadata,
    sa.Column("ad_id", sa.String(36), primary_key=True),
    sa.Column("ad_number", sa.BigInteger, nullable=False),
    text("ad_name"),
    sa.Column("ad_group_id", sa.String(36), nullable=False),
    sa.Column("ad_group_number", sa.BigInteger, nullable=False),
    text("ad_group_name"),
    sa.Column("campaign_id", sa.String(36), nullable=False),
    sa.Column("campaign_number", sa.BigInteger, nullable=False),
    text("campaign_name"),
    tenant(),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("channel_account_id", sa.String(36), nullable=False),
    sa.Column("goal", Choice(model.Goal), nullable=False),
    sa.Column("click_window_s", sa.BigInteger),
    sa.Column("view_window_s", sa.BigInteger),
    sa.Column("timezone", sa.String(64), nullable=False),
    sa.Column("currency", sa.String(3), nullable=False),
    text("landing_path"),
    text("headline"),
    text("text"),
    sa.Column("page_id", sa.String(64), nullable=False, server_default=""),
    text("welcome", default=""),
    sa.Column("questions", Words, nullable=False, server_default="[]"),
    sa.Column("answers", Words, nullable=False, server_default="[]"),
    sa.Column("platform", sa.String(16), nullable=False, server_default=""),
    sa.Index("ix_measured_ads_business_id", "business_id"),
    sa.Index("ix_measured_ads_of_number", "business_id", "ad_number"),
    sa.UniqueConstraint("ad_account_id", "ad_number"),
)

touches = sa.Table(
    "touches",
    metadata,
    sa.Column("touch_id", sa.BigInteger, primary_key=True, autoincrement=False),
    tenant(),
    sa.Column("person_id", sa.String(36), nullable=False),
    sa.Column("ad_id", sa.String(36), nullable=False),
    sa.Column("ad_group_id", sa.String(36), nullable=False),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("kind", Choice(model.TouchKind), nullable=False),
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("expires_ts", sa.BigInteger, nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("cost_micros", sa.BigInteger, nullable=False),
    sa.Column("country", sa.String(2), nullable=False, server_default=""),
    sa.Index("ix_touches_of_day", "business_id", "ad_account_id", "day", "ts"),
)

WEEK_US: Final = model.LONGEST_VIEW_S * 1_000_000
WEEK: Final = sa.literal_column(f"(ts / {WEEK_US})", sa.BigInteger)
"""The week of a touch since the epoch. By weeks, new views go to one small part of their index,
and since no window of a view is longer, what may win lies in the week of a conversion or the one before.
"""
IS_CLICK: Final = touches.c.kind == sa.literal_column(f"'{model.TouchKind.CLICK}'")
IS_VIEW: Final = touches.c.kind == sa.literal_column(f"'{model.TouchKind.VIEW}'")
"""The kinds as the indexes of persons name them; a bound value would not lead there."""

_LATEST_FIRST: Final = (touches.c.ts.desc(), touches.c.touch_id.desc())
_KEY: Final = (touches.c.person_id, touches.c.ts, touches.c.touch_id, touches.c.expires_ts)
sa.Index("ix_touches_clicked", touches.c.business_id, *_KEY, sqlite_where=IS_CLICK, postgresql_where=IS_CLICK)
sa.Index(
    "ix_touches_viewed", touches.c.business_id, WEEK, *_KEY, sqlite_where=IS_VIEW, postgresql_where=IS_VIEW
)
_OF_AD, _OF_ACCOUNT = (only(f"{name} IS NOT NULL") for name in ("ad_id", "ad_account_id"))
conversions = sa.Table(
    "conversions",
    metadata,
    sa.Column("conversion_id", sa.BigInteger, primary_key=True, autoincrement=False),
    tenant(),
    sa.Column("person_id", sa.String(36), nullable=False),
    sa.Column("kind", Choice(model.ConversionKind), nullable=False),
    sa.Column("subject_id", sa.String(36), nullable=False),
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("touch_id", sa.BigInteger),
    sa.Column("ad_id", sa.String(36)),
    sa.Column("ad_group_id", sa.String(36)),
    sa.Column("ad_account_id", sa.String(36)),
    sa.Column("via", Choice(model.TouchKind)),
    sa.Column("touch_ts", sa.BigInteger),
    sa.Column("day", sa.String(10)),
    sa.Column("rt_day", sa.String(10)),
    sa.Column("country", sa.String(2), nullable=False, server_default=""),
    instant("withdrawn_at", nullable=True),
    sa.Index("ix_conversions_of_person", "person_id", "ts"),
    sa.Index("ix_conversions_of_day", "business_id", "ad_account_id", "day", **_OF_ACCOUNT),
    sa.Index("ix_conversions_of_rt_day", "business_id", "ad_account_id", "rt_day", **_OF_ACCOUNT),
    sa.Index("ix_conversions_of_ts", "business_id", "ad_account_id", "ts"),
    sa.Index("ix_conversions_of_subject", "subject_id", **_OF_AD),
    sa.Index("ix_conversions_of_ad", "business_id", "ad_id", "kind", "subject_id", **_OF_AD),
)

dropped_views = sa.Table(
    "dropped_views",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("ad_group_id", sa.String(36), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("views", sa.BigInteger, nullable=False),
    sa.Column("cost_micros", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many views only the sealed files hold, and what they cost."""

APPEND_TOUCH: Final = {
    dialect: insert_for(dialect, touches).on_conflict_do_nothing() for dialect in ("sqlite", "postgresql")
}
"""The insert of the hot path: a repeated touch is ignored."""


_AD: Final = measured_ads.c.business_id == sa.bindparam("of"), measured_ads.c.ad_id == sa.bindparam("ad")
_MEASURED_AD: Final = PreparedQuery(model.MeasuredAd, sa.select(measured_ads).where(*_AD))


def find_measured_ad(tx: Tx, business_id: str, ad_id: str) -> model.MeasuredAd | None:
    return next(iter(_MEASURED_AD.list(tx, {"of": business_id, "ad": ad_id})), None)


def find_measured_ad_by_number(tx: Tx, business_id: str, ad_number: int) -> model.MeasuredAd | None:
    """Return an ad of ours by the API's id."""
    where = rows_of(measured_ads, business_id, platform="", ad_number=ad_number)
    return tx.find(model.MeasuredAd, sa.select(measured_ads).where(*where))


def list_measured_ads(
    tx: Tx, business_id: str, ad_ids: set[str] | None = None
) -> dict[str, model.MeasuredAd]:
    """Measured ads of a business by ad id: all of them, or those named."""
    named = {} if ad_ids is None else {"ad_id": ad_ids}
    query = sa.select(measured_ads).where(*rows_of(measured_ads, business_id, **named))
    return {ad.ad_id: ad for ad in tx.list(model.MeasuredAd, query)}


_NAMED: Final = touches.c.business_id == sa.bindparam("of"), within(touches.c.touch_id, "named")
_KNOWN_TOUCHES: Final = Query(sa.select(touches.c.touch_id).where(*_NAMED))


def list_known_touches(tx: Tx, business_id: str, touch_ids: Collection[int]) -> set[int]:
    return {touch_id for (touch_id,) in _KNOWN_TOUCHES.rows(tx, {"of": business_id, "named": touch_ids})}


def append_touches(tx: Tx, rows: Sequence[Row]) -> None:
    """Append many touches; those that were there before are ignored."""
    write_rows(tx, APPEND_TOUCH[tx.connection.dialect.name], rows)


def _latest(which: sa.ColumnElement[bool], *what: Any) -> sa.Select[Any]:
    """Select the latest eligible touch of a conversion, in one step of an index."""
    query = sa.select(*what).where(
        touches.c.business_id == sa.bindparam("of_business"),
        touches.c.person_id == sa.bindparam("of_person"),
        touches.c.ts <= sa.bindparam("at_ts"),
        touches.c.expires_ts >= sa.bindparam("at_ts"),
        which,
    )
    return query.order_by(*_LATEST_FIRST).limit(sa.literal_column("1"))


def latest_view(find: Callable[[sa.ColumnElement[bool]], sa.ColumnElement[Any]], week: Any) -> Any:
    return sa.func.coalesce(
        *(
            find(sa.and_(IS_VIEW, week_number == WEEK))
            for week_number in (week, week - sa.literal_column("1"))
        )
    )


_AT_WEEK: Final = sa.bindparam("at_ts", type_=sa.BigInteger) // sa.literal_column(str(WEEK_US), sa.BigInteger)
_CLICK: Final = sa.select(_latest(IS_CLICK, touches).subquery())
_VIEW: Final = sa.select(touches).where(
    touches.c.touch_id
    == latest_view(lambda is_view: _latest(is_view, touches.c.touch_id).scalar_subquery(), _AT_WEEK)
)
_CANDIDATES: Final = PreparedQuery(model.Touch, sa.select(sa.union_all(_CLICK, _VIEW).subquery()))


def list_candidates(tx: Tx, conversion: model.Conversion) -> list[model.Touch]:
    """Return the latest eligible click and the latest eligible view: one of them wins under either policy."""
    values = {"of_business": conversion.business_id, "of_person": conversion.person_id}
    return _CANDIDATES.list(tx, values | {"at_ts": conversion.ts})


LAST_TAP: Final = PreparedQuery(
    model.Touch,
    sa.select(touches)
    .where(
        touches.c.business_id == sa.bindparam("of_business"),
        touches.c.person_id == sa.bindparam("of_person"),
        IS_CLICK,
    )
    .order_by(*_LATEST_FIRST)
    .limit(sa.literal_column("1")),
)


def list_touches_of(tx: Tx, business_id: str, person_id: str, limit: int = 200) -> list[model.Touch]:
    """Return a person's touches, latest first."""
    own = rows_of(touches, business_id, person_id=person_id)
    views = sa.select(WEEK).where(touches.c.business_id == business_id, IS_VIEW).limit(1)
    first, last = tx.scalar(views.order_by(WEEK)), tx.scalar(views.order_by(WEEK.desc()))
    weeks = () if first is None else range(first, last + 1)
    matching_touches: list[model.Touch] = []
    for which in (IS_CLICK, sa.and_(IS_VIEW, WEEK.in_(weeks))):
        matching_touches += tx.list(
            model.Touch, sa.select(touches).where(*own, which).order_by(*_LATEST_FIRST).limit(limit)
        )
    return sorted(matching_touches, key=lambda touch: (touch.ts, touch.touch_id), reverse=True)[:limit]


_VIEWS_SINCE: Final = sa.select(touches.c.ts).where(
    touches.c.business_id == sa.bindparam("of_business"),
    IS_VIEW,
    WEEK.in_(sa.bindparam("weeks", expanding=True)),
    touches.c.person_id.in_(sa.bindparam("persons", expanding=True)),
    touches.c.ts > sa.bindparam("since", type_=sa.BigInteger),
    touches.c.ad_group_id == sa.bindparam("of_group"),
)


def list_view_times(
    tx: Tx, business_id: str, ad_group_id: str, person_ids: Collection[str], since_ts: int
) -> list[int]:
    values = {
        "of_business": business_id,
        "weeks": list(range(since_ts // WEEK_US, micros(tx.now) // WEEK_US + 1)),
        "persons": list(person_ids),
        "since": since_ts,
        "of_group": ad_group_id,
    }
    return list(tx.execute(_VIEWS_SINCE, values).scalars())


_ARE_NUMBERED: Final = (
    within(conversions.c.business_id, "businesses"),
    within(conversions.c.conversion_id, "numbers"),
)
ATTRIBUTED: Final = PreparedQuery(model.Attribution, sa.select(conversions).where(*_ARE_NUMBERED))


ONE_CONVERSION: Final = sa.update(conversions).where(
    conversions.c.business_id == sa.bindparam("of_business"),
    conversions.c.conversion_id == sa.bindparam("of_conversion"),
)
_SOONER: Final = sa.bindparam("sooner", type_=sa.BigInteger)
EARLIER: Final = ONE_CONVERSION.where(conversions.c.ts > _SOONER).values(ts=_SOONER)
"""Moves a conversion back in time that happened sooner than was known."""


def find_attribution(
    tx: Tx, business_id: str, subject_id: str, kind: model.ConversionKind
) -> model.Attribution | None:
    """Return the conversion of a lead or conversation, with the touch that won it."""
    number = conversion_number(business_id, kind, subject_id)  # the index of subjects has credited ones alone
    where = rows_of(conversions, business_id, conversion_id=number)
    return tx.find(model.Attribution, sa.select(conversions).where(*where))


def list_attributions(tx: Tx, business_id: str, subject_ids: set[str]) -> dict[str, model.Attribution]:
    numbers = [
        conversion_number(business_id, kind, subject_id)
        for kind in model.ConversionKind
        for subject_id in subject_ids
    ]
    values = {"businesses": [business_id], "numbers": sorted(numbers)}
    return {attribution.subject_id: attribution for attribution in ATTRIBUTED.list(tx, values)}


def list_dropped_days(tx: Tx, business_id: str, ad_account_id: str = "") -> list[str]:
    """Return the days with dropped views of a business or an account, in their order."""
    named = {"ad_account_id": ad_account_id} if ad_account_id else {}
    query = sa.select(dropped_views.c.day).where(*rows_of(dropped_views, business_id, **named))
    return list(tx.execute(query.distinct().order_by(dropped_views.c.day)).scalars())


def delete_views(tx: Tx, touch_ids: Sequence[int]) -> None:
    """Delete views in a sealed file, of all businesses, and keep their costs."""
    condition = touches.c.touch_id.in_(touch_ids)
    places = [touches.c[name] for name in ("business_id", "ad_group_id", "day", "ad_account_id")]
    sums = (sa.func.count().label("views"), sa.func.sum(touches.c.cost_micros).label("cost_micros"))
    rows = [
        dict(row)
        for row in tx.execute(sa.select(*places, *sums).where(condition).group_by(*places)).mappings()
    ]
    add_counts(tx, dropped_views, ("views", "cost_micros"), rows)
    tx.execute(sa.delete(touches).where(condition))


def list_converted_persons(tx: Tx, business_id: str, kind: model.ConversionKind) -> frozenset[str]:
    """Return the persons who started a conversation, or became a lead."""
    where = rows_of(conversions, business_id, kind=kind)
    query = sa.select(conversions.c.person_id).where(*where, conversions.c.withdrawn_at.is_(None))
    return frozenset(tx.execute(query.distinct()).scalars())


changed_days = sa.Table(
    "changed_days",
    metadata,
    key(),
    tenant(),
    sa.Column("ad_account_id", sa.String(36), nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("source", Choice(model.CountedEvent), nullable=False),
    sa.Index("ix_changed_days_of_account", "business_id", "ad_account_id"),
)
"""A row for each change, so that no two writers wait for each other and no change is lost to a count."""


def list_changed_days(tx: Tx, business_id: str, ad_account_id: str) -> list[model.ChangedDay]:
    """Return the marks of an account, possibly several per day."""
    where = rows_of(changed_days, business_id, ad_account_id=ad_account_id)
    return tx.list(model.ChangedDay, sa.select(changed_days).where(*where))


def list_changed_accounts(tx: Tx) -> list[tuple[str, str]]:
    query = sa.select(changed_days.c.business_id, changed_days.c.ad_account_id).distinct()
    return [(row.business_id, row.ad_account_id) for row in tx.execute(query)]


viewer_links = sa.Table(
    "viewer_links",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("viewer_id", sa.String(36), primary_key=True),
    sa.Column("person_id", sa.String(36), primary_key=True),
    instant("linked_at"),
    sa.Index("ix_viewer_links_of_person", "business_id", "person_id", "linked_at"),
    sqlite_with_rowid=False,
)
MOST: Final = 50
"""So many viewers of a person count, the latest: nobody has more, unless a publisher names them at random."""


_VIEWERS: Final = Query(
    sa.select(viewer_links.c.viewer_id)
    .where(
        viewer_links.c.business_id == sa.bindparam("of_business"),
        viewer_links.c.person_id == sa.bindparam("of_person"),
    )
    .order_by(viewer_links.c.linked_at.desc())
    .limit(sa.literal_column(str(MOST)))
)


def list_viewers_of(tx: Tx, business_id: str, person_id: str) -> list[str]:
    """Return the viewers linked to a person, the latest first."""
    rows = _VIEWERS.rows(tx, {"of_business": business_id, "of_person": person_id})
    return [viewer_id for (viewer_id,) in rows]


def list_links(tx: Tx, business_id: str | None) -> Mapping[str, list[str]]:
    """Return the viewers of each person with links; None for the links of all businesses."""
    links = sa.select(viewer_links).order_by(viewer_links.c.viewer_id)
    if business_id is not None:
        links = links.where(viewer_links.c.business_id == business_id)
    viewers_by_person: defaultdict[str, list[str]] = defaultdict(list)
    for row in tx.execute(links):
        viewers_by_person[row.person_id].append(row.viewer_id)
    return viewers_by_person


_TOUCHES_OF_PERSONS: Final = sa.select(touches.c.person_id).where(
    touches.c.business_id == sa.bindparam("of"), within(touches.c.person_id, "persons")
)
_LINKED: Final = sa.select(viewer_links.c.person_id).where(
    viewer_links.c.business_id == sa.bindparam("of"), within(viewer_links.c.person_id, "persons")
)
_TOUCHED: Final = Query(
    sa.select(
        sa.union_all(
            _TOUCHES_OF_PERSONS.where(IS_CLICK),
            _TOUCHES_OF_PERSONS.where(IS_VIEW, within(WEEK, "weeks")),
            _LINKED,
        ).subquery()
    ).distinct()
)


CONVERTED_SINCE: Final = PreparedQuery(
    model.Conversion,
    sa.select(conversions)
    .where(
        conversions.c.business_id == sa.bindparam("of"),
        within(conversions.c.person_id, "persons"),
        conversions.c.ts >= sa.bindparam("since"),
    )
    .order_by(conversions.c.ts, conversions.c.conversion_id),
)


_CLICKS: Final = PreparedQuery(
    model.Touch,
    sa.select(touches)
    .where(touches.c.business_id == sa.bindparam("of"), within(touches.c.person_id, "persons"), IS_CLICK)
    .order_by(touches.c.ts, touches.c.touch_id),
)


def list_last_taps(
    tx: Tx, business_id: str, person_ids: Collection[str]
) -> dict[str, tuple[model.Touch, model.MeasuredAd]]:
    """Return the latest click of each person who has one, with its ad."""
    clicks = _CLICKS.list(tx, {"of": business_id, "persons": sorted(person_ids)})
    last = {touch.person_id: touch for touch in clicks}
    if not last:
        return {}
    ads = list_measured_ads(tx, business_id, {touch.ad_id for touch in last.values()})
    return {person: (touch, ads[touch.ad_id]) for person, touch in last.items() if touch.ad_id in ads}


def list_winnable(tx: Tx, new: Sequence[model.Conversion], kept_since: int) -> list[model.Conversion]:
    """Return the new conversions that a touch may have won, in their order; their persons are locked.

    From ``kept_since`` (microseconds) on all views that may win are in the database; older conversions may be
    won by a view in a file.
    """
    lines: dict[str, list[model.Conversion]] = defaultdict(list)
    for conversion in new:
        lines[conversion.business_id].append(conversion)
    taken_persons: set[tuple[str, str]] = set()
    for business_id, line in lines.items():
        weeks = {conversion.ts // WEEK_US for conversion in line}
        persons = sorted({conversion.person_id for conversion in line})
        weeks |= {week - 1 for week in weeks}
        values = {"of": business_id, "persons": persons, "weeks": sorted(weeks)}
        taken_persons |= {(business_id, person_id) for (person_id,) in _TOUCHED.rows(tx, values)}
    return [
        conversion
        for conversion in new
        if conversion.ts <= kept_since or (conversion.business_id, conversion.person_id) in taken_persons
    ]


CREDITED: Final = PreparedQuery(
    model.Attribution,
    sa.select(conversions).where(
        conversions.c.business_id == sa.bindparam("of"),
        within(conversions.c.subject_id, "subjects"),
        conversions.c.ad_id.is_not(None),
    ),
)


"""Attributions with a winner, of leads and conversations."""


_ADS: Final = PreparedQuery(
    model.MeasuredAd,
    sa.select(measured_ads).where(
        within(measured_ads.c.business_id, "businesses"), within(measured_ads.c.ad_id, "ads")
    ),
)


def find_measured_ads(tx: Tx, keys: Sequence[tuple[str, str]]) -> Sequence[model.MeasuredAd | None]:
    """Return the ads of pairs of business and ad; None for an unknown one."""
    businesses, ids = {business_id for business_id, _ in keys}, {ad_id for _, ad_id in keys}
    ads = _ADS.list(tx, {"businesses": sorted(businesses), "ads": sorted(ids)})
    ads_by_id = {(ad.business_id, ad.ad_id): ad for ad in ads}
    return [ads_by_id.get(key) for key in keys]
