"""Attribution of touches and conversions, and their sealed files."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import batched
from operator import attrgetter
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from contatto.kit.background import Job, MaintenanceJob, Record
from contatto.kit.db.database import Database
from contatto.kit.db.statements import WorkBatcher, insert_new, write_rows
from contatto.kit.db.tx import Tx, row_of, rows_of
from contatto.kit.ids import new_id
from contatto.kit.log import logger
from contatto.kit.values import from_micros, micros
from contatto.measurement import model, rules, store
from contatto.measurement.engines import sealing


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePort:
    """Charge for touches in their transaction.

    Attributes:
        charge: called before touches of impressions are appended; returns them in order with their charges,
            which may be below the price. Existing touches keep theirs.
        note_click: called after a click without an impression was appended.
    """

    charge: Callable[[Tx, Sequence[model.Impression]], list[model.Touch]]
    note_click: Callable[[Tx, model.Touch], None]


class GatheredTouches:
    """Batches of views and taps with their charges, and lookups of their ads."""

    def __init__(self, db: Database) -> None:
        self.ads: Final = WorkBatcher(db.read, store.find_measured_ads)
        self.views: Final = WorkBatcher(db.write, record_views)
        self.taps: Final = WorkBatcher(db.write, record_taps)


def record_views(tx: Tx, views: Sequence[model.Impression]) -> list[model.Touch]:
    """Append views, each once, and return them with their charges."""
    charged = tx.ports[ChargePort].charge(tx, views)
    store.append_touches(tx, [row_of(touch) for touch in charged])
    mark_days(tx, model.CountedEvent.TOUCH, map(_PLACE_OF, charged))
    return charged


def record_taps(tx: Tx, taps: Sequence[model.Tap]) -> list[bool]:
    """Append taps, each once, with their charges; report for each whether it is new.

    Also settle the conversions that these taps, or earlier views of their viewers, may win.
    """
    impressions = [tap.impression for tap in taps]
    priced = iter(
        tx.ports[ChargePort].charge(tx, [impression for impression in impressions if impression.nonce])
    )
    charged = [next(priced) if impression.nonce else impression.touch for impression in impressions]
    taps_by_business: dict[str, list[tuple[model.Tap, model.Touch]]] = defaultdict(list)
    for tap, touch in zip(taps, charged, strict=True):
        taps_by_business[touch.business_id].append((tap, touch))
    viewers = {(tap.impression.touch.business_id, tap.viewer_id) for tap in taps if tap.viewer_id}
    hold_persons(tx, {(touch.business_id, touch.person_id) for touch in charged} | viewers)
    new: set[int] = set()
    may_win: list[model.Conversion] = []
    for business_id, batch in sorted(taps_by_business.items()):
        known_touches = store.list_known_touches(tx, business_id, {touch.touch_id for _, touch in batch})
        first_taps = {touch.touch_id: (tap, touch) for tap, touch in reversed(batch)}
        fresh = [first_taps[touch_id] for touch_id in reversed(first_taps) if touch_id not in known_touches]
        if not fresh:
            continue
        new |= {touch.touch_id for _, touch in fresh}
        store.append_touches(tx, [row_of(touch) for _, touch in fresh])
        for tap, touch in fresh:
            if not tap.impression.nonce:
                tx.ports[ChargePort].note_click(tx, touch)
        mark_days(tx, model.CountedEvent.TOUCH, [_PLACE_OF(touch) for _, touch in fresh])
        named = {(tap.viewer_id, touch.person_id) for tap, touch in fresh if tap.viewer_id}
        # Earlier views of a linked viewer may have earned earlier conversions of the person.
        link = {"business_id": business_id, "linked_at": tx.now}
        links = [link | {"viewer_id": viewer, "person_id": person} for viewer, person in sorted(named)]
        is_linked = bool(links) and insert_new(tx, store.viewer_links, links) > 0
        linked = {person_id for _, person_id in named} if is_linked else set()
        since = 0 if linked else min(touch.ts for _, touch in fresh)
        persons = sorted({touch.person_id for _, touch in fresh})
        converted = store.CONVERTED_SINCE.list(tx, {"of": business_id, "persons": persons, "since": since})
        may_win += [
            conversion
            for conversion in converted
            if conversion.person_id in linked
            or any(rules.is_eligible(touch, conversion) for _, touch in fresh)
        ]
    for conversion in may_win:
        _settle_winner(tx, conversion)
    return [touch.touch_id in new for touch in charged]


def hold_persons(tx: Tx, persons: set[tuple[str, str]]) -> None:
    """Lock persons and viewers, so that simultaneous touches and conversions see each other."""
    if tx.locks_rows:
        tx.advisory_locks({rules.natural_number("person", *person) for person in persons})


type Place = tuple[int, str, str | None, str | None]
"""Time in microseconds, business, ad account and day of an event; a conversion without credit has no day."""
_PLACE_OF: Final[Callable[[model.Touch], Place]] = attrgetter("ts", "business_id", "ad_account_id", "day")


def mark_days(tx: Tx, source: model.CountedEvent, places: Iterable[Place]) -> None:
    """Mark the days of late events, which reports may have counted already, to count them again."""
    counted_until = micros(tx.now - rules.LATE)
    late = {(business, account, day) for ts, business, account, day in places if ts < counted_until}
    for business_id, account_id, day in late:
        if account_id and day:
            tx.insert(
                store.changed_days, row_of(model.ChangedDay(new_id(), business_id, account_id, day, source))
            )


A_DAY: Final = timedelta(days=1)
NEVER_DROPPED: Final = rules.LONGEST_WINDOW + A_DAY
"""Younger views stay in the database, whatever the settings say."""
AT_ONCE: Final = 1_000
"""Views that are dropped in one transaction, so that no writer waits long."""

_DROPPING: Final = rules.natural_number("dropping views")
_SEALING: Final = rules.natural_number("sealing days of touches")


@dataclass(frozen=True, slots=True)
class NewConversion:
    """Conversion to record, with its person and its time in microseconds."""

    business_id: str
    person_id: str
    kind: model.ConversionKind
    subject_id: str
    ts: int


def publish_ad(tx: Tx, ad: model.MeasuredAd) -> None:
    """Save an ad after each change. Raises ValueError for a view window of more than 7 days."""
    if (ad.view_window_s or 0) > model.LONGEST_VIEW_S:
        raise ValueError(f"a view counts for {model.LONGEST_VIEW_S} seconds at most")
    tx.save(store.measured_ads, row_of(ad))


def stamp_touch(
    ad: model.MeasuredAd, kind: model.TouchKind, person_id: str, ts: int, touch_id: int, cost_micros: int
) -> model.Touch:
    """Return a touch with its expiry and its local day."""
    return model.Touch(
        touch_id=touch_id,
        business_id=ad.business_id,
        person_id=person_id,
        ad_id=ad.ad_id,
        ad_group_id=ad.ad_group_id,
        ad_account_id=ad.ad_account_id,
        kind=kind,
        ts=ts,
        expires_ts=rules.expires_ts(ad, kind, ts),
        day=rules.local_day(ts, ad.timezone),
        cost_micros=cost_micros,
    )


def stamp_ticket(
    ad: model.MeasuredAd, ticket: model.TrackingTicket, person_id: str | None, ts: int
) -> model.Touch:
    """Return the touch of a tracking link, which counts once: per impression, or per day for a chat link.

    Without a known person it gets a person of its own: it counts, and cannot win.
    """
    kind = model.TouchKind.VIEW if ticket.kind is model.TicketKind.VIEW else model.TouchKind.CLICK
    touch = stamp_touch(ad, kind, person_id or new_id(), ts, 0, ticket.cost_micros)
    if ticket.kind is model.TicketKind.CHAT:
        touch_id = rules.natural_number("chat link", ad.ad_id, touch.person_id, touch.day)
    else:
        touch_id = rules.natural_number("link", ad.business_id, ad.ad_id, ticket.nonce, kind)
    return replace(touch, touch_id=touch_id, country=ticket.country)


def record_conversions(tx: Tx, conversions: Iterable[NewConversion]) -> None:
    """Append conversions once, and find their winners; an earlier time settles a conversion again."""
    first: dict[int, model.Conversion] = {}
    for earned in sorted(conversions, key=lambda earned: earned.ts):
        number = rules.conversion_number(earned.business_id, earned.kind, earned.subject_id)
        first.setdefault(number, model.Conversion(number, **row_of(earned)))
    hold_persons(tx, {(conversion.business_id, conversion.person_id) for conversion in first.values()})
    businesses = {conversion.business_id for conversion in first.values()}
    values = {"businesses": sorted(businesses), "numbers": sorted(first)}
    attributions = store.ATTRIBUTED.list(tx, values) if first else []
    existing = {attribution.conversion_id: attribution for attribution in attributions}
    new = [conversion for number, conversion in first.items() if number not in existing]
    moved = [first[number] for number, attribution in existing.items() if first[number].ts < attribution.ts]
    insert_new(tx, store.conversions, [row_of(conversion) for conversion in new])  # without a winner so far
    earlier = [
        {"of_business": move.business_id, "of_conversion": move.conversion_id, "sooner": move.ts}
        for move in moved
    ]
    write_rows(tx, store.EARLIER, earlier)
    may_win = {
        conversion.conversion_id: conversion
        for conversion in store.list_winnable(tx, new + moved, micros(tx.now - A_DAY))
    }
    may_lose = {
        conversion.conversion_id: conversion
        for conversion in moved
        if existing[conversion.conversion_id].touch_id is not None
    }
    for number, conversion in (may_win | may_lose).items():
        _settle_winner(tx, conversion, is_new=number not in existing)


def withdraw_conversion(
    tx: Tx, business_id: str, subject_id: str, kind: model.ConversionKind, *, is_back: bool = False
) -> None:
    """Exclude a conversion from reports; its row stays. ``is_back`` includes it again."""
    number = rules.conversion_number(business_id, kind, subject_id)
    where = rows_of(store.conversions, business_id, conversion_id=number)
    tx.execute(sa.update(store.conversions).where(*where).values(withdrawn_at=None if is_back else tx.now))
    mark_conversion(tx, business_id, subject_id, kind)


def mark_conversion(tx: Tx, business_id: str, subject_id: str, kind: model.ConversionKind) -> None:
    """Mark the days of a conversion to count them again, after a change of its lead or chat."""
    attribution = store.find_attribution(tx, business_id, subject_id, kind)
    if attribution:
        place = (attribution.ts, business_id, attribution.ad_account_id)
        mark_days(
            tx, model.CountedEvent.CONVERSION, [(*place, attribution.day), (*place, attribution.rt_day)]
        )


def take_marks(tx: Tx, business_id: str, mark_ids: list[str]) -> bool:
    """Delete marks of days, in the transaction that saves their counts; False if they are gone."""
    counts = [tx.delete(store.changed_days, business_id, id=some) for some in batched(mark_ids, 500)]
    return sum(counts) == len(mark_ids)


def sealing_job(folder: Path, age_days: int) -> MaintenanceJob:
    """Return the job that seals days of an age; each file is on disk before the manifest lists it."""

    def list_jobs(tx: Tx) -> list[Job]:
        jobs: list[Job] = []
        sealed_touches: Counter[str] = Counter()
        for file in sealing.list_sealed_files(tx):
            sealed_touches[file.day] += file.touches - file.dropped
            if not sealing.path_of(file).exists() and (folder / file.name).exists():  # it was moved
                jobs.append(partial(adopt_file, file=replace(file, folder=str(folder))))
        last_day = (tx.now - timedelta(days=age_days)).date().isoformat()
        by_day = sa.select(store.touches.c.day, sa.func.count()).where(store.touches.c.day <= last_day)
        counts = map(tuple, tx.execute(by_day.group_by(store.touches.c.day)))
        # new days, and old ones with late touches
        days = sorted(day for day, count in counts if count > sealed_touches[day])
        jobs += [partial(seal_day, folder=folder, day=day) for day in days]
        if days or not (folder / sealing.CONVERSIONS).exists():
            jobs.append(seal_conversions)
        return jobs

    def seal_conversions(tx: Tx) -> None:
        is_valid = store.conversions.c.withdrawn_at.is_(None)
        conversions = tx.list(model.Attribution, sa.select(store.conversions).where(is_valid))
        sealing.write_conversions(folder, conversions, store.list_links(tx, None))

    return MaintenanceJob(folder, _SEALING, list_jobs)


def list_cold_files(
    tx: Tx, business_id: str, days: tuple[str | None, str | None] = (None, None), ad_account_id: str = ""
) -> list[model.SealedFile]:
    """Return the sealed files with dropped views of a business or an account in some days."""
    first, last = days
    dropped = [
        day
        for day in store.list_dropped_days(tx, business_id, ad_account_id)
        if (first is None or day >= first) and (last is None or day <= last)
    ]
    files = sealing.list_sealed_files(tx, sealing.sealed_files.c.day.in_(dropped)) if dropped else []
    return [file for file in files if file.dropped_through >= 0]


def list_cold_files_between(
    tx: Tx, business_id: str, since: datetime, until: datetime
) -> list[model.SealedFile]:
    """Return the sealed files with dropped views between two moments, and a day more at each end."""
    if since > tx.now - NEVER_DROPPED:
        return []
    days = ((since - A_DAY).date().isoformat(), (until + A_DAY).date().isoformat())
    return list_cold_files(tx, business_id, days)


def keep_views(tx: Tx) -> None:
    """Keep views in the database until the end of this transaction.

    Otherwise PostgreSQL shows each statement the latest commit, so a view could be read twice or never.
    """
    tx.advisory_locks([_DROPPING], is_shared=True)


def list_touches_known(tx: Tx, business_id: str, person_id: str, limit: int) -> list[model.Touch]:
    """Return a person's touches in the database, latest first, with the views of their viewers."""
    touches = store.list_touches_of(tx, business_id, person_id, limit)
    for viewer_id in store.list_viewers_of(tx, business_id, person_id):
        touches += store.list_touches_of(tx, business_id, viewer_id, limit)
    touches = [replace(touch, person_id=person_id) for touch in touches]
    return sorted(touches, key=lambda touch: (touch.ts, touch.touch_id), reverse=True)[:limit]


def list_touches_ever(
    tx: Tx, business_id: str, person_id: str, limit: int
) -> tuple[list[model.Touch], list[sealing.BrokenFile]]:
    """Return a person's touches in the database and in files, latest first, and the damaged files."""
    keep_views(tx)
    touches_by_id = {touch.touch_id: touch for touch in list_touches_known(tx, business_id, person_id, limit)}
    ids = (person_id, *store.list_viewers_of(tx, business_id, person_id))
    views, broken = sealing.load_whole(
        list_cold_files(tx, business_id),
        lambda batch: [view for viewer in ids for view in sealing.list_views_of(batch, business_id, viewer)],
    )
    touches_by_id |= {view.touch_id: replace(view, person_id=person_id) for view in views}
    latest = sorted(touches_by_id.values(), key=lambda touch: (touch.ts, touch.touch_id), reverse=True)
    return latest[:limit], broken


def dropping_job(folder: Path, keep_days: int, counted_until: Callable[[Tx], str | None]) -> MaintenanceJob:
    """Return the job that drops old views which this folder holds, of days before ``counted_until``."""

    def list_jobs(tx: Tx) -> list[Job]:
        limits = [(tx.now - timedelta(days=keep_days)).date().isoformat(), counted_until(tx)]
        before = min(limit for limit in limits if limit is not None)
        files = [
            file
            for file in sealing.list_sealed_files(tx)
            if file.day < before
            and file.folder == str(folder)
            and file.dropped_through != sealing.ALL_DROPPED
        ]
        return [
            partial(drop_views, name=file.name)
            for file in files
            for _ in range(0, file.touches - file.dropped, AT_ONCE)
        ]

    return MaintenanceJob(folder, _SEALING, list_jobs)


def drop_views(tx: Tx, name: str) -> Record | None:
    """Drop the next views of a file after a check of the whole file."""
    file = next(iter(sealing.list_sealed_files(tx, sealing.sealed_files.c.name == name)), None)
    if file is None or file.dropped_through == sealing.ALL_DROPPED:
        return None
    try:
        next_ids = sealing.list_next_views(file, AT_ONCE)
    except sealing.BrokenFile as error:  # its views stay; other days go on
        logger().error("measurement.file_broken", says=str(error))
        return None
    through = next_ids[-1] if len(next_ids) == AT_ONCE else sealing.ALL_DROPPED

    def record(tx: Tx) -> None:
        tx.advisory_locks([_DROPPING])
        if sealing.record_dropped(tx, file, through, len(next_ids)):
            store.delete_views(tx, next_ids)

    return record


def adopt_file(_tx: Tx, file: model.SealedFile) -> Record:
    """Record the new folder of a file that was moved or restored. Raises BrokenFile if it was changed."""
    sealing.check_file(file)
    is_file = sealing.sealed_files.c.name == file.name
    return lambda tx: tx.execute(sa.update(sealing.sealed_files).where(is_file).values(folder=file.folder))


def seal_day(tx: Tx, folder: Path, day: str) -> Record | None:
    before = sealing.list_sealed_files(tx, sealing.sealed_files.c.day == day)
    touches = tx.stream(model.Touch, sa.select(store.touches).where(store.touches.c.day == day))
    file = sealing.write_part(folder, day, touches, before)
    return None if file is None else partial(sealing.append_sealed_file, file=file)


def _settle_winner(tx: Tx, conversion: model.Conversion, *, is_new: bool = False) -> None:
    candidates = store.list_candidates(tx, conversion)
    if not any(touch.kind is model.TouchKind.CLICK for touch in candidates):  # a tap goes before any view
        seen_as = store.list_viewers_of(tx, conversion.business_id, conversion.person_id)
        for viewer_id in seen_as:
            candidates += store.list_candidates(tx, replace(conversion, person_id=viewer_id))
        at = from_micros(conversion.ts)
        files = list_cold_files_between(tx, conversion.business_id, at - rules.LONGEST_WINDOW, at)
        people = (conversion.person_id, *seen_as)
        moments = [sealing.Moment(conversion.conversion_id, person, conversion.ts) for person in people]
        views, broken = sealing.load_whole(
            files, lambda batch: sealing.find_latest_views(batch, conversion.business_id, moments, None)
        )
        for error in broken:  # a lead must not wait for a file
            logger().error("measurement.file_broken", says=str(error))
        candidates += list(views.values())
        candidates = [replace(touch, person_id=conversion.person_id) for touch in candidates]
    winner = rules.last_touch(candidates, conversion)
    if is_new and winner is None:
        return
    ad = store.find_measured_ad(tx, winner.business_id, winner.ad_id) if winner else None
    rt_day = rules.local_day(conversion.ts, ad.timezone) if ad else None
    before = store.find_attribution(tx, conversion.business_id, conversion.subject_id, conversion.kind)
    values = {
        "of_business": conversion.business_id,
        "of_conversion": conversion.conversion_id,
        "touch_id": winner and winner.touch_id,
        "ad_id": winner and winner.ad_id,
        "ad_group_id": winner and winner.ad_group_id,
        "ad_account_id": winner and winner.ad_account_id,
        "via": winner and winner.kind,
        "touch_ts": winner and winner.ts,
        "day": winner and winner.day,
        "rt_day": rt_day,
        "country": winner.country if winner else "",
    }
    tx.execute(store.ONE_CONVERSION, values)
    days = [(before.ad_account_id, before.day), (before.ad_account_id, before.rt_day)] if before else []
    days += [(winner.ad_account_id, winner.day), (winner.ad_account_id, rt_day)] if winner else []
    places = [(conversion.ts, conversion.business_id, account_id, day) for account_id, day in days]
    mark_days(tx, model.CountedEvent.CONVERSION, places)
