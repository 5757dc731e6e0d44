"""Erasing a viewer from the log that delivery learns from: who it was goes, what it cost stays."""

import asyncio

import pytest

from contatto.delivery.actions.ledger import forget_viewers, read_record
from contatto.delivery.actions.results import explain_decision
from contatto.delivery.actions.serving import serve_ad
from contatto.delivery.actions.training import Trainer
from contatto.delivery.rules import ServedAd
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.leads.model import ErasedPeople
from contatto.learning.model import NOBODY, Entry, EntryKind
from tests.delivery.learning import ASKED, KEY, Market, add_market


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    return add_market(database, clock)


def forget(market: Market, *persons: str, business_id: str = "") -> None:
    none: frozenset[str] = frozenset()
    gone = ErasedPeople(business_id or market.id, none, frozenset(persons), none, none)
    assert market.db.write_now(lambda tx: forget_viewers(tx, gone)) == set()


def entries_of(market: Market, served: ServedAd) -> list[Entry]:
    return [each for each in market.entries() if each.nonce == int(served.decision_id)]


def test_the_log_loses_a_person_with_what_was_known_of_them_and_keeps_others(market: Market) -> None:
    first, other = market.ask(2)
    (unseen,) = market.ask(1, viewer_id="viewer 0")
    for served in (first, other):
        market.see(served)
    person, stays = market.tap(first), market.tap(other)
    before = entries_of(market, other)
    forget(market, person)
    found = [*entries_of(market, first), *entries_of(market, unseen)]
    assert {each.person_id for each in found} == {None}
    for each in found:
        if each.kind is EntryKind.DECISION:
            record = read_record(each.body)
            assert (record.viewer, record.features, record.history, record.shown) == (NOBODY, {}, {}, None)
            assert record.ad
            assert record.price_micros
    assert entries_of(market, other) == before
    assert stays in {each.person_id for each in before}


def test_what_another_business_keeps_of_them_is_not_its_to_erase(market: Market) -> None:
    (served,) = market.ask()
    market.see(served)
    person = market.tap(served)
    before = market.entries()
    forget(market, person, business_id="elsewhere")
    assert market.entries() == before


def test_learning_goes_on_past_what_was_erased(market: Market) -> None:
    market.play(6)
    (served,) = market.ask()
    market.see(served)
    forget(market, market.tap(served))
    market.train(Trainer(14, is_hasty=True))
    assert sum(state.views for state in market.states().values()) == 6


def test_an_erased_decision_is_told_of_without_being_made_again(market: Market) -> None:
    (served,) = market.ask()
    market.see(served)
    forget(market, market.tap(served))
    found = market.db.read_now(lambda tx: explain_decision(tx, market.id, int(served.decision_id)))
    assert found.explained is None
    assert not found.record.history
    assert str(found.record.ad) == served.ad_id


def test_an_erased_decision_in_which_no_ad_won_is_told_of_too(market: Market) -> None:
    (served,) = market.ask()
    market.see(served)
    assert market.ask(1, viewer_id="viewer 0", floor_micros=10**12) == []
    lost = market.entries()[-1]
    forget(market, market.tap(served))
    found = market.db.read_now(lambda tx: explain_decision(tx, market.id, lost.nonce))
    assert (found.record.ad, found.record.history, found.explained) == (0, {}, None)


def test_a_view_that_comes_before_its_decision_is_written_down_teaches_all_the_same(market: Market) -> None:
    async def work() -> ServedAd:
        served = await serve_ad(market.server, market.id, ASKED, market.clock.now(), KEY)
        assert served is not None
        await asyncio.to_thread(market.see, served)
        await market.server.flush()
        return served

    asyncio.run(work())
    market.train()
    assert sum(state.views for state in market.states().values()) == 1
