"""Learning in production: from the log, each entry once, published whole, taken back, and not poisoned."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from contatto.ads import store as ads
from contatto.delivery import store
from contatto.delivery.actions.ledger import read_lines, read_record
from contatto.delivery.actions.serving import AdServer, load_replica, seed_of, serve_ad
from contatto.delivery.actions.training import (
    Trainer,
    learn_entries,
    load_learning,
    purge_log,
    rebuild_marketplace,
    roll_back_model,
)
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.values import micros
from contatto.learning.model import Entry, EntryKind, Phase, Reason
from contatto.measurement.actions import stamp_touch
from contatto.measurement.model import TicketKind, TouchKind
from contatto.measurement.store import find_measured_ad
from tests.delivery.learning import ASKED, KEY, Market, add_market, ticket_of
from tests.delivery.played import replay_record
from tests.make import record_touch


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    return add_market(database, clock)


def test_what_viewers_did_is_in_the_log_in_the_order_in_which_it_happened(market: Market) -> None:
    (served,) = market.ask()
    market.see(served)
    subject = market.talk(market.tap(served))
    market.find_lead_to_be(subject, "qualified")
    found = market.entries()
    kinds = [each.kind.value for each in found]
    assert kinds == ["decision", "view", "click", "conversation", "lead", "quality"]
    assert [each.seq for each in found] == [2, 3, 4, 5, 6, 7]
    assert {each.nonce for each in found} == {int(served.decision_id)}


def test_learning_counts_what_was_credited(market: Market) -> None:
    market.play(30)
    market.train()
    states = market.states().values()
    assert sum(state.views for state in states) == 30
    assert sum(state.clicks for state in states) == 10
    assert sum(state.conversations for state in states) == 5
    assert sum(state.leads for state in states) == 5
    assert {state.phase for state in states} == {Phase.LEARNING}
    assert {tuple(state.reasons) for state in states} == {(Reason.FEW_CONVERSIONS,)}


def test_a_click_that_a_platform_reports_minutes_late_is_learned(market: Market) -> None:
    (served,) = market.ask()
    market.see(served)
    ticket, clicked_at = ticket_of(served.view_url, TicketKind.VIEW), micros(market.clock.now())
    market.clock.advance(minutes=5)
    market.ask()

    def report(tx: Tx) -> None:
        ad = find_measured_ad(tx, ticket.business_id, ticket.ad_id)
        assert ad is not None
        viewer = market.db.vault.named_id(ad.channel_account_id, f"viewer:{ticket.viewer}")
        record_touch(tx, stamp_touch(ad, TouchKind.CLICK, viewer, clicked_at, 7, 0))

    market.db.write_now(report)
    market.train()
    assert sum(state.clicks for state in market.states().values()) == 1


def test_a_server_takes_the_new_model_and_says_which_it_decided_by(market: Market) -> None:
    market.play(30)
    market.train()
    market.clock.advance(seconds=30)
    market.ask(1)
    market.ask(1)
    records = [read_record(each.body) for each in market.entries() if each.kind is EntryKind.DECISION]
    assert records[0].version == 0
    assert records[-1].version == 1
    other = AdServer(market.db)
    market.ask(1, server=other)
    assert read_record(market.entries()[-1].body).version == 1


def test_simultaneous_first_requests_of_a_process_are_all_answered(market: Market) -> None:
    market.play(6)
    market.train()

    async def work(server: AdServer) -> list[object]:
        asked = [replace(ASKED, viewer_id=f"viewer {number}") for number in range(4)]
        now = market.clock.now()
        found = await asyncio.gather(*(serve_ad(server, market.id, each, now, KEY) for each in asked))
        await server.flush()
        return list(found)

    assert None not in asyncio.run(work(AdServer(market.db)))
    assert {record.version for record in market.decisions()[-4:]} == {1}


def test_a_logged_decision_is_made_again_bit_for_bit(market: Market) -> None:
    market.play(40)
    market.train()
    market.clock.advance(seconds=30)
    market.ask(1)
    market.play(20)
    raw, seed = market.newest(), seed_of(market.id)
    made = market.decisions()
    assert {record.version for record in made} == {0, 1}
    for record in made:
        again = replay_record(seed, raw if record.version else None, record)
        assert again == record


def test_ad_groups_and_ads_that_no_model_knows_stand_in_the_log_once(market: Market) -> None:
    def lines() -> list[Entry]:
        return [each for each in market.whole_log() if each.kind is EntryKind.LINES]

    market.ask(12)
    (entry,) = lines()
    assert len(read_lines(entry.body)) == 4
    for each in market.entries():
        record = read_record(each.body)
        assert (each.seq > entry.seq, record.added, record.lines) == (True, [], entry.nonce)
    market.clock.advance(hours=25)
    market.ask(1)
    assert [each.nonce for each in lines()] == [entry.nonce] * 2
    market.train()
    market.clock.advance(seconds=30)
    market.ask(1)
    market.ask(1)
    assert (market.decisions()[-1].version, market.decisions()[-1].lines, len(lines())) == (1, 0, 2)


def test_a_killed_learner_goes_on_as_if_nothing_had_happened(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One learner is cut off again and again before it can keep anything; one is never disturbed."""
    market.play(60)
    undisturbed = market.db.read_now(lambda tx: _learned(tx, market.id))
    monkeypatch.setattr("contatto.delivery.actions.training.AT_ONCE", 7)
    for life in range(20):
        killed = Trainer(14, is_hasty=True)
        killed.start_over()
        keep = market.db.read_now(killed.read_next)
        market.clock.advance(seconds=120)
        if keep is not None and life % 3 == 0:  # every third lives long enough to publish
            market.db.write_now(keep)
    market.clock.advance(seconds=120)
    market.train(Trainer(14, is_hasty=True))
    assert market.newest() == undisturbed


def _learned(tx: Tx, business_id: str) -> bytes:
    learning = load_learning(tx, business_id)
    while learn_entries(tx, learning, 1_000):
        pass
    return learning.marketplace.save()


def test_two_learners_do_not_publish_the_same_twice(market: Market) -> None:
    market.play(20)
    first, second = Trainer(14, is_hasty=True), Trainer(14, is_hasty=True)
    first.start_over()
    second.start_over()
    keeps = [market.db.read_now(first.read_next), market.db.read_now(second.read_next)]
    for keep in keeps:
        assert keep is not None
        market.db.write_now(keep)
    found = market.db.read_now(lambda tx: store.list_models(tx, market.id))
    assert [each.version for each in found] == [1]


@pytest.mark.parametrize("how", ["cut", "changed", "emptied", "digest"])
def test_a_damaged_model_is_refused_and_the_one_before_it_serves(market: Market, how: str) -> None:
    market.play(20)
    market.train()
    market.play(20)
    market.train()
    table = store.models
    mine = table.c.business_id == market.id, table.c.version == 2
    (whole,) = market.db.read_now(lambda tx: tx.execute(table.select().where(*mine)).mappings().all())
    blob = whole["blob"]
    broken = {
        "cut": {"blob": blob[: len(blob) // 2]},
        "changed": {"blob": blob[:-40] + bytes(40)},
        "emptied": {"blob": b""},
        "digest": {"sha256": "0" * 64},
    }[how]
    market.db.write_now(lambda tx: tx.execute(update(table).where(*mine).values(**broken)))
    replica = market.db.read_now(lambda tx: load_replica(tx, market.id))
    assert replica is not None
    assert replica.version == 1
    served = AdServer(market.db)
    assert market.ask(2, server=served)
    assert read_record(market.entries()[-1].body).version == 1
    market.clock.advance(seconds=120)
    market.train(Trainer(14, is_hasty=True))  # it goes on from the whole one, and loses nothing
    assert sum(state.views for state in market.states().values()) == 40


def test_a_model_that_was_rolled_back_to_serves_and_what_came_since_is_not_learned(market: Market) -> None:
    market.play(20)
    market.train()
    good = market.newest()
    market.play(20)
    market.train()
    assert market.newest() != good
    market.db.write_now(lambda tx: roll_back_model(tx, market.id, 1))
    assert market.newest() == good
    market.play(10)
    market.train()
    assert sum(state.views for state in market.states().values()) == 30
    with pytest.raises(Refused):
        market.db.write_now(lambda tx: roll_back_model(tx, market.id, 99))


def test_a_model_can_be_built_again_as_it_was_after_any_entry(market: Market) -> None:
    market.play(20)
    market.train()
    market.play(20)
    market.train()
    made = market.newest()
    newest = market.db.read_now(lambda tx: store.list_models(tx, market.id))[0]
    table = store.models
    gone = update(table).where(table.c.version == newest.version).values(blob=None)
    market.db.write_now(lambda tx: tx.execute(gone))
    again = market.db.read_now(lambda tx: rebuild_marketplace(tx, market.id, newest.through))
    assert again is not None
    assert again.marketplace.save() == made


def test_replayed_views_and_taps_teach_nothing(market: Market) -> None:
    served = market.ask(2)
    for each in served:
        market.see(each)
        market.tap(each)
    before = market.entries()
    for each in served:
        market.see(each)
        market.tap(each)
    assert market.entries() == before


def test_taps_without_views_teach_nothing(market: Market) -> None:
    served = market.ask(12)
    for each in served[:6]:
        market.see(each)
        market.tap(each)
    market.train()
    before = market.db.read_now(lambda tx: load_learning(tx, market.id)).marketplace.market
    weights = before.learned.table.copy()
    for each in served[6:]:
        market.tap(each)
    market.clock.advance(seconds=1)
    market.train()
    after = market.db.read_now(lambda tx: load_learning(tx, market.id)).marketplace.market
    assert (after.learned.table == weights).all()
    assert sum(group.clicks for group in after.groups.groups) == 6


def test_a_tap_that_comes_weeks_late_teaches_nothing(market: Market) -> None:
    first, second = market.ask(2)
    market.see(first)
    market.see(second)
    market.clock.advance(days=12)
    market.ask(1)
    market.tap(first)
    market.train()
    assert sum(state.clicks for state in market.states().values()) == 0


def test_a_chat_that_no_ad_earned_teaches_nothing(market: Market) -> None:
    market.ask(1)
    before = market.entries()
    market.talk("01a0b1c2-0000-7000-8000-000000000000")
    assert market.entries() == before


def test_a_paused_ad_group_and_a_changed_budget_are_learned_in_their_place(market: Market) -> None:
    market.play(6)
    market.train()
    chain = market.chains[0]
    changed = replace(chain.ad_group, budget_micros=77_000_000)
    assert market.db.write_now(lambda tx: ads.record_node(tx, chain.ad_group, changed))
    market.play(6)
    market.train()
    market.train()
    groups = market.db.read_now(lambda tx: load_learning(tx, market.id)).marketplace.market.groups
    lines = {group.line.adgroup_id: group.line for group in groups.groups}
    assert lines[str(chain.ad_group.number)].budget_micros == 77_000_000
    assert sum(each.kind is EntryKind.AD_GROUP for each in market.entries()) <= 1


def test_the_log_is_kept_for_some_days_and_no_longer(market: Market) -> None:
    market.play(5)
    market.train()
    market.clock.advance(seconds=timedelta(days=20).total_seconds())
    market.play(5)
    while market.db.write_now(lambda tx: purge_log(tx, 14)):
        pass
    left = market.entries()
    assert len([each for each in left if each.kind is EntryKind.DECISION]) == 5
    market.train()
    assert sum(state.views for state in market.states().values()) == 10


def test_without_consent_the_log_names_nobody_and_keeps_no_personal_feature(market: Market) -> None:
    market.ask(1, has_consent=False, features={"income": "high"}, placement="feed")
    record = read_record(market.entries()[0].body)
    assert record.viewer == ""
    assert list(record.features.values()) == ["feed"]
    market.ask(1, features={"income": "high"}, placement="feed")
    record = read_record(market.entries()[1].body)
    assert record.viewer not in ("", ASKED.viewer_id)
    assert list(record.features.values()) == ["feed", "en", "AGE_25_34", "high"]


def test_another_business_has_a_log_of_its_own(market: Market, clock: FixedClock) -> None:
    other = add_market(market.db, clock)
    market.play(5)
    assert other.entries() == []
    assert market.db.read_now(lambda tx: store.find_stream(tx, other.id)) is None
