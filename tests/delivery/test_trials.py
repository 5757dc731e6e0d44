"""The trial that measures what learning brings: who takes part, what they see, what is counted and told."""

from dataclasses import replace
from functools import cache

import msgspec
import numpy as np
import pytest

from contatto.delivery.actions.results import CampaignLift, list_lifts
from contatto.delivery.actions.serving import AdServer
from contatto.delivery.actions.training import purge_log
from contatto.delivery.rules import BUCKETS, Arm, Lift, TrialArms, measure_lift, trial_of
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.learning.marketplace import AuctionRequest, Replica
from contatto.learning.model import Record
from contatto.measurement.model import Goal, TicketKind, TrackingTicket
from contatto.measurement.rules import read_ticket, sign_ticket
from tests.delivery.learning import KEY, Market, add_market
from tests.delivery.played import replay_record
from tests.delivery.test_replica import BEGINS, LIVE, SECOND, ask, learned


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    made = add_market(database, clock)
    made.server = AdServer(database, trial_share=0.5)
    return made


def measured(market: Market) -> list[CampaignLift]:
    return market.db.read_now(lambda tx: list_lifts(tx, market.world.ad_account))


def records(market: Market) -> list[Record]:
    return market.decisions()


def test_a_share_of_viewers_takes_part_for_good_and_evenly_in_all_groups() -> None:
    trials = [trial_of(f"viewer {number}", 0.05) for number in range(20_000)]
    assert trials == [trial_of(f"viewer {number}", 0.05) for number in range(20_000)]
    assert 0.045 < sum(trial < 0 for trial in trials) / len(trials) < 0.055
    sizes = np.bincount(np.abs(trials), minlength=BUCKETS + 1)
    assert sizes[0] == 0
    assert sizes[1:].min() > 0.8 * len(trials) / BUCKETS
    assert {trial_of(f"viewer {number}", 0.0) for number in range(100)} == {0}


def played(chance: np.random.Generator, views: int, rate: float, price: float = 1.0) -> Arm:
    """What viewers of different worth bring, who come more or less often."""
    viewers = max(views // 3, 1)
    bucket, seen = chance.integers(0, BUCKETS, viewers), 1 + chance.poisson(2.0, viewers)
    came = chance.poisson(rate * seen * chance.gamma(0.5, 2.0, viewers))
    sums = [np.bincount(bucket, each, BUCKETS).astype(int) for each in (came, seen)]
    pairs = tuple(zip(*(each.tolist() for each in sums), strict=True))
    return Arm(int(seen.sum()), int(1e6 * price * seen.sum()), int(came.sum()), pairs)


def pair(chance: np.random.Generator, learned: int, by_lot: int, rate: float, lift: float) -> TrialArms:
    return TrialArms(played(chance, learned, rate * (1 + lift)), played(chance, by_lot, rate))


@pytest.mark.parametrize(
    ("shares", "lift"),
    [((1.0,), 0.23), ((1.0,), 0.0), ((0.6, 0.3, 0.1), 0.23), ((0.34, 0.33, 0.33), 0.0)],
)
def test_the_interval_holds_the_truth_in_95_of_100_trials(shares: tuple[float, ...], lift: float) -> None:
    """Also where learning shows the ad groups in other shares than lots do, which have other rates."""
    chance, held, told = np.random.default_rng(5), 0, 0
    rates = (0.08, 0.02, 0.16)
    for _ in range(200):
        parts = [
            pair(chance, int(12_000 * share), 2_000 // len(shares), rate, lift)
            for share, rate in zip(shares, rates, strict=False)
        ]
        found = measure_lift(parts)
        if found.low is not None and found.high is not None:
            told += 1
            held += found.low <= lift <= found.high
    assert told > 190
    assert 0.92 <= held / told <= 0.98


def test_with_too_few_conversions_it_says_how_many_more_are_needed() -> None:
    chance = np.random.default_rng(1)
    many, few = played(chance, 4_000, 0.2), Arm(100, 10**6, 6, ((6, 100), *((0, 0),) * (BUCKETS - 1)))
    assert measure_lift([TrialArms(many, few)]) == Lift(None, None, None, (14, 0))
    assert measure_lift([TrialArms(few, many)]) == Lift(None, None, None, (0, 14))
    none = Arm(0, 0, 0, ((0, 0),) * BUCKETS)
    assert measure_lift([]) == measure_lift([TrialArms(many, none)]) == Lift(None, None, None, (20, 20))


def test_what_an_ad_group_pays_plays_no_part_in_its_lift() -> None:
    one, other = (played(np.random.default_rng(1), 4_000, 0.2, price) for price in (1.0, 3.0))
    lifts = [measure_lift([TrialArms(each, one)]) for each in (one, other)]
    assert lifts[0] == lifts[1]
    assert lifts[0].lift == 0.0


def asked_by_lot(nonce: int, **features: object) -> AuctionRequest:
    """The request of a viewer who is served by lot."""
    asked = ask(nonce, f"viewer {nonce}", BEGINS + (10_000 + nonce) * SECOND, **features)
    return replace(asked, trial=-3)


@cache
def saved_once() -> bytes:
    return learned()[0]


def served(multipliers: dict[int, float]) -> Replica:
    replica = Replica(7, 4, saved_once())
    replica.set_live(LIVE)
    replica.set_multipliers(multipliers)
    return replica


def test_a_lot_takes_the_same_places_at_the_same_prices() -> None:
    one, other = (served({1: 4e7, 2: 3e7, 3: 2e7}) for _ in range(2))
    prices = set()
    for nonce in range(10_000, 10_100):
        by_lot = one.propose(asked_by_lot(nonce))
        as_learned = other.propose(replace(asked_by_lot(nonce), trial=3))
        assert bool(by_lot.ad) == bool(as_learned.ad)
        assert by_lot.price_micros == as_learned.price_micros
        prices.add(by_lot.price_micros)
    assert len(prices) > 1


def test_without_an_offer_that_reaches_the_floor_nothing_is_drawn_either() -> None:
    replica = served({1: 1e3, 2: 1e3, 3: 1e3})
    asked = asked_by_lot(10_000)
    assert [replica.propose(replace(asked, trial=trial)).ad for trial in (-3, 3)] == [0, 0]


def test_each_ad_group_is_drawn_as_often_as_it_is_shown_and_its_ads_alike() -> None:
    replica = served({1: 4e7, 2: 3e7, 3: 2e7})
    views = {int(group.line.adgroup_id): group.views + 1 for group in replica.market.groups.groups}
    total, shown = sum(views.values()), dict.fromkeys(views, 0)
    for nonce in range(10_000, 10_300):
        record = replica.propose(asked_by_lot(nonce))
        assert record.propensity == pytest.approx(views[record.ad_group] / total / 2)
        shown[record.ad_group] += 1
    for number, count in shown.items():
        assert count / 300 == pytest.approx(views[number] / total, abs=0.1)


def test_an_ad_group_that_cannot_pay_for_the_place_is_not_drawn() -> None:
    replica = served({1: 4e7, 2: 3e7, 3: 2e7})
    for nonce in range(10_000, 10_030):
        asked = replace(ask(nonce), trial=-1, available_micros={1: 9e6, 2: 9e6, 3: 1_100.0})
        record = replica.propose(asked)
        assert record.offer_micros > 1_100_000
        assert record.ad_group in (1, 2)


def test_a_decision_by_lot_is_made_again_bit_for_bit() -> None:
    replica = served({1: 4e7, 2: 3e7, 3: 2e7})
    for nonce in range(10_000, 10_060):
        record = replica.decide(asked_by_lot(nonce))
        logged = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Record)
        again = replay_record(7, saved_once(), logged)
        assert msgspec.msgpack.encode(again) == msgspec.msgpack.encode(record)
        assert record.ad
        assert record.floor_micros <= record.price_micros <= record.offer_micros


def test_what_a_viewer_is_like_plays_no_part_in_which_ad_is_drawn() -> None:
    likes = ({"language": "en", "age": 30, "likes": ["tea", "t0"]}, {"language": "th", "age": 70})
    one, other = (served({1: 4e6}).propose(asked_by_lot(10_000, **each)) for each in likes)
    assert one.offer_micros != other.offer_micros
    assert (one.ad, one.propensity) == (other.ad, other.propensity)


def test_the_group_of_a_viewer_travels_in_the_signed_link() -> None:
    for ticket in (
        TrackingTicket(TicketKind.VIEW, "b", "a", 5, "v", 7, "SG"),
        TrackingTicket(TicketKind.VIEW, "b", "a", 5, "v", 7, "SG", "place"),
        TrackingTicket(TicketKind.VIEW, "b", "a", 5, "v", 7, "SG", "", -4),
        TrackingTicket(TicketKind.CLICK, "b", "a", 5, "v", 7, "SG", "place", 9),
    ):
        assert read_ticket(sign_ticket(ticket, KEY), {ticket.kind}, KEY) == ticket


def test_views_spend_chats_and_leads_are_counted_for_both_ways(market: Market) -> None:
    market.play(60)
    made = records(market)
    by_lot = [each for each in made if each.trial < 0]
    assert 10 < len(by_lot) < 50
    assert all(each.trial for each in made)
    parts = [row for row in measured(market) if row.campaign is not None]
    arms = [arm for row in parts for arm in (row.learned, row.random)]
    assert sum(arm.views for arm in arms) == 60
    assert sum(row.random.views for row in parts) == len(by_lot)
    spent = sum(each.price_micros // 1_000 for each in made)
    assert sum(arm.spend_micros for arm in arms) == spent
    assert sum(arm.conversions for arm in arms) == 10
    assert all(row.lift.lift is None for row in parts)
    assert {row.goal for row in parts} <= set(Goal)


def test_who_did_not_consent_takes_no_part(market: Market) -> None:
    for served in market.ask(10, has_consent=False):
        market.see(served)
    assert {each.trial for each in records(market)} == {0}
    assert measured(market) == []


def test_counts_are_kept_for_some_months(market: Market) -> None:
    market.play(6)
    assert market.db.write_now(lambda tx: purge_log(tx, 1_000)) == 0
    market.clock.advance(days=121)
    assert market.db.write_now(lambda tx: purge_log(tx, 1_000)) > 0
    assert measured(market) == []
