"""Touches and conversions as they are kept: the same winners in any order, on both databases."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.ids import new_id
from contatto.kit.values import micros
from contatto.kit.vault import Vault
from contatto.measurement import store
from contatto.measurement.actions import NewConversion, record_conversions, stamp_ticket
from contatto.measurement.model import (
    LONGEST_VIEW_S,
    Attribution,
    ConversionKind,
    Goal,
    MeasuredAd,
    TicketKind,
    TouchKind,
    TrackingTicket,
)
from contatto.measurement.rules import last_touch, read_ticket, sign_ticket, viewer_of
from tests import make
from tests.examples import examples
from tests.make import record_touch

CHAT, LEAD = ConversionKind.CONVERSATION, ConversionKind.LEAD
HOUR = timedelta(hours=1)


def earned(business_id: str, at: datetime, kind: ConversionKind = LEAD, subject: str = "s1") -> NewConversion:
    return NewConversion(business_id, "p1", kind, subject, micros(at))


def winner(db: Database, business_id: str, kind: ConversionKind = LEAD, subject: str = "s1") -> Attribution:
    found = db.read_now(lambda tx: store.find_attribution(tx, business_id, subject, kind))
    assert found is not None
    return found


def prepared(db: Database, **changes: object) -> tuple[str, MeasuredAd]:
    def build(tx: Tx) -> tuple[str, MeasuredAd]:
        owner = make.business(tx).id
        return owner, make.published_ad(tx, owner, **changes)

    return db.write_now(build)


kinds = st.sampled_from(TouchKind)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("touch"), st.integers(0, 1), kinds, st.integers(0, 40)),
        st.tuples(st.sampled_from(ConversionKind), st.sampled_from(["s1", "s2"]), st.integers(0, 48)),
    ),
    min_size=2,
    max_size=9,
)


def play(tx: Tx, business_id: str, ads: list[MeasuredAd], plan: list[tuple]) -> None:  # type: ignore[type-arg]
    for step in plan:
        if step[0] == "touch":
            _, ad, kind, hours = step
            at = make.NOON + hours * HOUR
            number = hash((business_id, ad, kind, hours)) & (2**62 - 1)
            record_touch(tx, make.touch(ads[ad], kind, at, touch_id=number))
        else:
            kind, subject, hours = step
            record_conversions(tx, [earned(business_id, make.NOON + hours * HOUR, kind, subject)])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps, chance=st.randoms(use_true_random=False))
def test_any_order_and_repeats_give_the_winners_of_the_rule(database: Database, plan, chance) -> None:  # type: ignore[no-untyped-def]
    business_id = new_id()

    def record(tx: Tx) -> list[MeasuredAd]:
        ads = [make.published_ad(tx, business_id, click_window_s=20 * 3600, view_window_s=8 * 3600),
               make.published_ad(tx, business_id, click_window_s=30 * 3600, view_window_s=None)]  # fmt: skip
        shuffled = plan * 2
        chance.shuffle(shuffled)
        shuffled.sort(key=lambda step: step[2] is not TouchKind.VIEW)  # a view is stored when it happens
        play(tx, business_id, ads, shuffled)
        return ads

    database.write_now(record)
    seen = database.read_now(lambda tx: store.list_touches_of(tx, business_id, "p1"))
    for kind in ConversionKind:
        for subject in ("s1", "s2"):
            times = [step[2] for step in plan if step[0] is kind and step[1] == subject]
            found = database.read_now(
                lambda tx, kind=kind, subject=subject: store.find_attribution(tx, business_id, subject, kind)
            )
            if not times:
                assert found is None
                continue
            first = make.NOON + min(times) * HOUR
            wanted = last_touch(seen, make.conversion(kind, first, business_id=business_id))
            assert found is not None
            assert (found.ts, found.touch_id) == (micros(first), wanted and wanted.touch_id)
            assert found.ad_group_id == (wanted and wanted.ad_group_id)
            assert found.day == (wanted and wanted.day)


def test_the_worked_example_credits_the_lead_ad_group(database: Database) -> None:
    """R49: the chat began through a Conversation ad, the details were shared through a Lead ad."""

    def tell(tx: Tx) -> tuple[str, MeasuredAd, MeasuredAd]:
        owner = make.business(tx).id
        talk = make.published_ad(tx, owner, goal=Goal.CONVERSATION)
        lead = make.published_ad(tx, owner, goal=Goal.LEAD)
        record_touch(tx, make.touch(talk, at=make.NOON))
        record_conversions(tx, [earned(owner, make.NOON + HOUR, CHAT)])
        record_touch(tx, make.touch(lead, at=make.NOON + 24 * HOUR))
        record_conversions(tx, [earned(owner, make.NOON + 25 * HOUR, LEAD)])
        return owner, talk, lead

    owner, talk, lead = database.write_now(tell)
    assert winner(database, owner, CHAT).ad_group_id == talk.ad_group_id
    assert winner(database, owner, LEAD).ad_group_id == lead.ad_group_id


def test_a_touch_that_comes_in_late_takes_the_conversion_that_it_earned(database: Database) -> None:
    owner, ad = prepared(database)
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, make.NOON + HOUR)]))
    assert winner(database, owner).touch_id is None
    late = make.touch(ad)
    assert database.write_now(lambda tx: record_touch(tx, late))
    won = winner(database, owner)
    assert (won.touch_id, won.via, won.ad_id, won.day) == (late.touch_id, TouchKind.CLICK, ad.ad_id, late.day)
    assert won.rt_day == "2026-01-01"


def test_a_late_touch_after_the_conversion_takes_nothing(database: Database) -> None:
    owner, ad = prepared(database)
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, make.NOON)]))
    database.write_now(lambda tx: record_touch(tx, make.touch(ad, at=make.NOON + HOUR)))
    assert winner(database, owner).touch_id is None


def test_the_same_touch_again_is_told_and_changes_nothing(database: Database) -> None:
    _, ad = prepared(database)
    touch = make.touch(ad)
    assert [database.write_now(lambda tx: record_touch(tx, touch)) for _ in range(2)] == [True, False]


def test_an_earlier_time_of_a_conversion_is_settled_anew(database: Database) -> None:
    owner, ad = prepared(database)
    database.write_now(lambda tx: record_touch(tx, make.touch(ad, at=make.NOON)))
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, make.NOON + HOUR)]))
    assert winner(database, owner).touch_id is not None
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, make.NOON - HOUR)]))
    assert (winner(database, owner).touch_id, winner(database, owner).ts) == (None, micros(make.NOON - HOUR))
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, make.NOON + 2 * HOUR)]))
    assert winner(database, owner).ts == micros(make.NOON - HOUR)


def test_a_changed_window_does_not_touch_what_was_stamped(database: Database) -> None:
    owner, ad = prepared(database)
    before = make.touch(ad)
    database.write_now(lambda tx: record_touch(tx, before))
    shorter = make.ad(owner, ad_id=ad.ad_id, ad_number=ad.ad_number, click_window_s=60)
    database.write_now(lambda tx: tx.save(store.measured_ads, row_of(shorter)))
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, make.NOON + 48 * HOUR)]))
    assert winner(database, owner).touch_id == before.touch_id


@pytest.mark.parametrize("hours_before", [7 * 24, 7 * 24 - 1, 0])
@pytest.mark.parametrize("days_on", range(8))
def test_a_view_wins_to_the_end_of_the_longest_window_on_every_day_of_the_week(
    database: Database, hours_before: int, days_on: int
) -> None:
    owner = new_id()
    ad = database.write_now(lambda tx: make.published_ad(tx, owner, view_window_s=LONGEST_VIEW_S))
    at = make.NOON + days_on * 24 * HOUR
    seen = make.touch(ad, TouchKind.VIEW, at - hours_before * HOUR)
    older = make.touch(ad, TouchKind.VIEW, at - 7 * 24 * HOUR, touch_id=seen.touch_id - 1)
    database.write_now(lambda tx: [record_touch(tx, each) for each in (older, seen)])
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, at)]))
    assert winner(database, owner).touch_id == seen.touch_id


def test_a_window_that_the_index_of_views_does_not_reach_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="604800 seconds at most"):
        database.write_now(lambda tx: make.published_ad(tx, new_id(), view_window_s=LONGEST_VIEW_S + 1))


def test_a_persons_touches_of_many_weeks_come_latest_first_and_no_more_than_asked_for(
    database: Database,
) -> None:
    owner, ad = prepared(database)
    kinds = [TouchKind.VIEW, TouchKind.CLICK, TouchKind.VIEW]
    made = [
        make.touch(ad, kind, make.NOON - n * 50 * HOUR, touch_id=1_000 + n)
        for n, kind in enumerate(kinds * 6)
    ]
    database.write_now(lambda tx: store.append_touches(tx, [row_of(each) for each in made]))
    for limit in (200, 7, 1):
        found = database.read_now(lambda tx, limit=limit: store.list_touches_of(tx, owner, "p1", limit))
        assert found == made[:limit]


def test_another_business_sees_no_ad_touch_or_conversion(database: Database) -> None:
    owner, ad = prepared(database)
    database.write_now(lambda tx: record_touch(tx, make.touch(ad)))
    database.write_now(lambda tx: record_conversions(tx, [earned(owner, make.NOON)]))

    def look(tx: Tx) -> list[object]:
        return [
            store.find_measured_ad(tx, "other", ad.ad_id),
            store.find_measured_ad_by_number(tx, "other", ad.ad_number),
            store.list_measured_ads(tx, "other"),
            store.list_touches_of(tx, "other", "p1"),
            store.find_attribution(tx, "other", "s1", LEAD),
            store.list_attributions(tx, "other", {"s1"}),
        ]

    assert database.read_now(look) == [None, None, {}, [], None, {}]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_touch_and_a_conversion_at_the_very_same_time_see_each_other(database: Database) -> None:
    owner, ad = prepared(database)
    for number in range(8):
        together = threading.Barrier(2)
        touch = make.touch(ad, at=make.NOON + number * 24 * 8 * HOUR)
        won = earned(owner, make.NOON + number * 24 * 8 * HOUR + HOUR, subject=f"s{number}")
        writes: list[Callable[[Tx], object]] = [
            lambda tx, touch=touch: record_touch(tx, touch),  # type: ignore[misc]
            lambda tx, won=won: record_conversions(tx, [won]),  # type: ignore[misc]
        ]
        run_together(database, together, writes)
        assert winner(database, owner, subject=f"s{number}").touch_id == touch.touch_id


def run_together(db: Database, barrier: threading.Barrier, writes: list[Callable[[Tx], object]]) -> None:
    """Run writes in transactions that are open at the same time."""

    def open_and_wait(work: Callable[[Tx], object]) -> Callable[[Tx], None]:
        def whole(tx: Tx) -> None:
            barrier.wait(60)
            work(tx)

        return whole

    with ThreadPoolExecutor(len(writes)) as threads:
        for done in [threads.submit(db.write_now, open_and_wait(work)) for work in writes]:
            done.result(60)


def ticket_of(kind: TicketKind, ad: MeasuredAd, nonce: int = 77, cost_micros: int = 0) -> TrackingTicket:
    return TrackingTicket(kind, ad.business_id, ad.ad_id, nonce, "viewer-1", cost_micros, "LK")


def test_an_impression_counts_its_view_and_its_tap_once_each() -> None:
    ad = make.ad()
    view, again = (stamp_ticket(ad, ticket_of(TicketKind.VIEW, ad, 77, 10), "p1", ts) for ts in (1, 2))
    click = stamp_ticket(ad, ticket_of(TicketKind.CLICK, ad, 77, 200), "p1", 3)
    assert view.touch_id == again.touch_id != click.touch_id
    assert (view.kind, click.kind) == (TouchKind.VIEW, TouchKind.CLICK)
    assert (view.cost_micros, click.cost_micros) == (10, 200)
    assert view.person_id == click.person_id == "p1"


def test_a_publisher_names_a_person_of_a_platform_and_nobody_in_our_own_chat() -> None:
    own = make.ad()
    elsewhere = make.ad(landing_path="https://www.tiktok.com/@kopi")
    account = own.channel_account_id
    name = Vault({"test": bytes(32)}).named_id
    assert viewer_of(name, elsewhere, ticket_of(TicketKind.VIEW, elsewhere)) == name(account, "viewer-1")
    assert viewer_of(name, own, ticket_of(TicketKind.VIEW, own)) == name(account, "viewer:viewer-1")
    assert viewer_of(name, own, TrackingTicket(TicketKind.CHAT, own.business_id, own.ad_id)) is None


def test_the_country_of_the_decision_travels_with_the_link_to_the_touch() -> None:
    ad = make.ad()
    signer = Vault({"test": bytes(32)}).signer("tracking")
    told = read_ticket(sign_ticket(ticket_of(TicketKind.CLICK, ad), signer), {TicketKind.CLICK}, signer)
    assert stamp_ticket(ad, told, "p1", 1).country == "LK"


def test_a_chat_link_counts_a_person_once_a_day() -> None:
    ad = make.ad(timezone="UTC")
    day = 86_400 * 1_000_000
    ticket = TrackingTicket(TicketKind.CHAT, ad.business_id, ad.ad_id)
    taps = [(ad, "p1", 1), (ad, "p1", day - 1), (ad, "p1", day), (ad, "p2", 1), (make.ad(), "p1", 1)]
    ids = [stamp_ticket(of, ticket, person_id, ts).touch_id for of, person_id, ts in taps]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


def test_a_touch_of_nobody_known_belongs_to_no_person_who_could_convert() -> None:
    ad = make.ad()
    ticket = ticket_of(TicketKind.VIEW, ad)
    one, other = (stamp_ticket(ad, ticket, None, 1) for _ in range(2))
    assert one.person_id != other.person_id
