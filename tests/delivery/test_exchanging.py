"""The auction between businesses for a placement of an operator, on both databases."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.accounts.store import ad_accounts
from contatto.ads.store import record_node
from contatto.delivery import rules, store
from contatto.delivery.actions.ledger import load_added, read_record
from contatto.delivery.actions.serving import AdServer, seed_of
from contatto.delivery.rules import BY_OFFER, MOST_INVITED, TURN_S, choose_invited, rank_offers
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from contatto.learning.model import EntryKind, Hurdle, Record
from contatto.operators import store as operators_store
from contatto.operators.model import AdmissionState, Category, ReviewState
from tests.ads.world import add_chain
from tests.delivery.played import replay_record
from tests.operators.marketplace import MILLION, Marketplace, add_marketplace


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Marketplace:
    return add_marketplace(database, clock)


def records(market: Marketplace, business: int) -> list[Record]:
    name = market.worlds[business].id
    found = market.db.read_now(lambda tx: store.list_entries(tx, name, 0, 10_000))
    made = [read_record(each.body) for each in found if each.kind is EntryKind.DECISION]
    assert all(market.db.read_now(lambda tx: [load_added(tx, name, each) for each in made]))
    return made


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 10**6))
def test_the_best_offer_wins_and_pays_the_second(offers: list[int], number: int) -> None:
    winner, to_beat = rank_offers(offers, number)
    if winner is None:
        assert not any(offers)
        return
    others = [each for place, each in enumerate(offers) if place != winner]
    assert offers[winner] == max(offers)
    assert to_beat[winner] == max(others, default=0)
    wins = [offer >= least for offer, least in zip(offers, to_beat, strict=True)]
    assert wins == [place == winner for place in range(len(offers))]


def test_a_few_businesses_are_all_asked_and_of_many_those_who_offer_most() -> None:
    many = [f"b{number}" for number in range(400)]
    assert choose_invited(many[:MOST_INVITED], {}, 0.0) == many[:MOST_INVITED]
    lately = {name: float(number) for number, name in enumerate(many)}
    asked = choose_invited(many, lately, 1e9)
    assert len(asked) == len(set(asked)) == MOST_INVITED
    assert asked == sorted(asked, key=many.index)
    assert set(many[-BY_OFFER:]) <= set(asked)


@given(st.integers(MOST_INVITED + 1, 300), st.integers(0, 10**6))
def test_of_many_businesses_each_gets_its_turn(count: int, first: int) -> None:
    many = [f"b{number}" for number in range(count)]
    turns = count // (MOST_INVITED - BY_OFFER) + 2
    asked = {name for turn in range(turns) for name in choose_invited(many, {}, (first + turn) * TURN_S)}
    assert asked == set(many)


def test_ads_of_all_admitted_businesses_win_places(market: Marketplace) -> None:
    served = market.ask(30)
    assert {market.owner_of(each) for each in served} == {0, 1}
    assert market.ask(placement=market.placement.id) != []


def test_whose_turn_it_is_among_many_is_read_behind_the_answer_and_competes_then(
    database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_INVITED", 2)
    monkeypatch.setattr(rules, "BY_OFFER", 1)
    market = add_marketplace(database, clock, businesses=3)
    known = []
    for _ in range(6):
        assert market.ask(3) != []
        known.append([market.server.has_tenant(world.id) for world in market.worlds].count(True))
        clock.advance(seconds=TURN_S)
    assert (known[0], known[-1]) == (2, 3)
    asked = [len(records(market, business)) for business in range(3)]
    assert min(asked) > 0
    assert sum(asked) <= 2 * 18


def test_each_log_says_what_it_took_and_makes_its_decisions_again(market: Marketplace) -> None:
    market.ask(20)
    mine, others = records(market, 0), records(market, 1)
    assert [each.nonce for each in mine] == [each.nonce for each in others]
    for pair in zip(mine, others, strict=True):
        assert sum(bool(record.ad) for record in pair) == 1
        for world, record in zip(market.worlds, pair, strict=True):
            assert record.placement == market.placement.id
            assert replay_record(seed_of(world.id), None, record) == record
            if record.ad:
                assert record.price_micros == max(2_000_000, record.to_beat_micros) <= record.offer_micros


def test_a_price_never_comes_from_another_ad_of_the_same_business(
    database: Database, clock: FixedClock
) -> None:
    market = add_marketplace(database, clock, businesses=1)
    market.db.write_now(lambda tx: add_chain(tx, market.worlds[0]))
    market.send()
    market.review(ReviewState.APPROVED)
    market.ask(12)
    found = [record for record in records(market, 0) if record.ad]
    assert len(found) == 12
    assert {record.price_micros for record in found} == {2_000_000}
    assert any(len(record.groups) == 2 for record in found)


def test_a_placement_that_is_not_the_operators_is_refused(market: Marketplace) -> None:
    with pytest.raises(Refused):
        market.ask(placement="")
    with pytest.raises(Refused):
        market.ask(placement="Another page")


def test_an_ad_that_is_not_approved_as_it_is_now_is_never_shown(market: Marketplace) -> None:
    first = market.chains[0].ad
    market.decide(1, AdmissionState.SUSPENDED, "An ad was not true.")
    assert market.ask() != []
    market.db.write_now(lambda tx: record_node(tx, first, replace(first, text="Something else.")))
    market.clock.advance(seconds=60)
    assert market.ask() == []
    assert records(market, 0)[-1].left_out == {market.chains[0].ad_group.number: Hurdle.REVIEW.value}
    market.send()
    assert market.ask() == []
    assert market.review(ReviewState.REFUSED, "Not true.") == 1
    assert market.ask() == []


def test_who_is_suspended_blocked_or_of_another_category_does_not_compete(market: Marketplace) -> None:
    market.decide(0, AdmissionState.SUSPENDED, "An ad was not true.")
    assert {market.owner_of(each) for each in market.ask(8)} == {1}
    market.decide(0, AdmissionState.ADMITTED)
    market.change(blocked=(market.worlds[1].id,))
    assert {market.owner_of(each) for each in market.ask(8)} == {0}
    market.change(categories=(Category.HEALTH.value,))
    assert market.ask() == []
    market.change(categories=(Category.FOOD.value,), is_on=False)
    assert market.ask() == []


def test_ad_accounts_in_another_currency_do_not_compete(market: Marketplace) -> None:
    of = market.worlds[0]
    market.db.write_now(lambda tx: tx.change(ad_accounts, of.business.id, of.ad_account.id, currency="USD"))
    assert {market.owner_of(each) for each in market.ask(8)} == {1}
    assert set(records(market, 0)[-1].left_out.values()) == {Hurdle.CURRENCY.value}


def test_an_account_without_balance_or_credit_does_not_serve(market: Marketplace) -> None:
    market.pay(0, -MILLION)
    assert {market.owner_of(each) for each in market.ask(8)} == {1}
    assert set(records(market, 0)[-1].left_out.values()) == {Hurdle.BALANCE.value}
    market.pay(0, 4_000)
    served = market.ask(20)
    assert 1 <= [market.owner_of(each) for each in served].count(0) <= 2


def test_a_person_sees_so_many_ads_a_day_in_every_process(market: Marketplace) -> None:
    market.change(most_views=2)
    asked = {"count": 3}
    for _ in range(2):
        market.served.clear()
        assert len(market.ask(1)) == 1
    market.served.clear()
    assert market.ask(1) == []
    market.server = AdServer(market.db)
    assert market.ask(1) == []
    assert len(market.ask(**asked, has_consent=False)) == 3
    market.clock.advance(hours=13)
    assert len(market.ask(1)) == 1


def test_charges_spend_and_balance_are_one_amount_for_both_sides(market: Marketplace) -> None:
    served = market.ask(24)
    for number, each in enumerate(served):
        market.see(each, times=2)
        if number % 3 == 0:
            market.tap(each)
        by_business = [market.totals(0), market.totals(1)]
        for amounts in by_business:
            assert len(set(amounts)) == 1
    assert all(amounts[0] > 0 for amounts in by_business)
    days = market.db.read_now(lambda tx: operators_store.list_placed_days(tx, market.operator.business_id))
    assert sum(day.charged_micros for day in days) == sum(amounts[0] for amounts in by_business)
    assert sum(day.views for day in days) == 24
    assert {day.placement_id for day in days} == {market.placement.id}
    asked = market.db.read_now(
        lambda tx: operators_store.list_request_days(tx, market.operator.business_id, "")
    )
    assert [(day.asked, day.filled) for day in asked] == [(24, 24)]


def test_no_balance_is_charged_more_than_it_has_however_late_a_view_comes(market: Marketplace) -> None:
    served = market.ask(12)
    market.pay(0, -MILLION + 3_000)
    market.pay(1, -MILLION)
    for each in served:
        market.see(each)
    first, second = market.totals(0), market.totals(1)
    assert len(set(first)) == len(set(second)) == 1
    assert 0 < first[0] <= 3_000
    assert second[0] == 0
