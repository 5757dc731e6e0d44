"""The trial that measures what learning brings: who takes part, what they see, what is counted and told."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from contatto.delivery.actions.serving import AdServer, read_record
from contatto.delivery.actions.trials import CampaignLift, list_lifts, purge_trials
from contatto.delivery.model.log import EntryKind, Record
from contatto.delivery.predict.replica import Replica, replay_record
from contatto.delivery.rules.trials import BUCKETS, Arm, Lift, measure_lift, trial_of
from contatto.kit.clock import FixedClock
from contatto.kit.db.database import Database
from contatto.measurement.model import Goal, TicketKind, TrackingTicket
from contatto.measurement.rules import read_ticket, sign_ticket
from tests.delivery.learning import KEY, Market, add_market
from tests.delivery.test_replica import BEGINS, LIVE, SECOND, ask, learned


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    made = add_market(database, clock)
    made.server = AdServer(database, trial_share=0.5)
    return made


def measured(market: Market) -> list[CampaignLift]:
    return market.db.read_now(lambda tx: list_lifts(tx, market.world.ad_account))


def records(market: Market) -> list[Record]:
    return [read_record(each.body) for each in market.entries() if each.kind is EntryKind.DECISION]


def test_a_share_of_viewers_takes_part_for_good_and_evenly_in_all_groups() -> None:
    trials = [trial_of(f"viewer {number}", 0.05) for number in range(20_000)]
    assert trials == [trial_of(f"viewer {number}", 0.05) for number in range(20_000)]
    assert 0.045 < sum(trial < 0 for trial in trials) / len(trials) < 0.055
    sizes = np.bincount(np.abs(trials), minlength=BUCKETS + 1)
    assert sizes[0] == 0
    assert sizes[1:].min() > 0.8 * len(trials) / BUCKETS
    assert {trial_of(f"viewer {number}", 0.0) for number in range(100)} == {0}


def played(chance: np.random.Generator, viewers: int, rate: float) -> Arm:
    """What viewers of different worth bring, who see ads of different prices."""
    bucket, price = chance.integers(0, BUCKETS, viewers), chance.gamma(1.0, 1.0, viewers)
    came = chance.poisson(rate * price * chance.gamma(0.5, 2.0, viewers))
    spent = np.bincount(bucket, 1e6 * price, BUCKETS).astype(int)
    sums = np.bincount(bucket, came, BUCKETS).astype(int)
    pairs = tuple(zip(sums.tolist(), spent.tolist(), strict=True))
    return Arm(viewers, int(spent.sum()), int(sums.sum()), pairs)


@pytest.mark.parametrize(("share", "lift"), [(0.05, 0.23), (0.2, 0.0)])
def test_the_interval_holds_the_truth_in_95_of_100_trials(share: float, lift: float) -> None:
    chance, held, told = np.random.default_rng(5), 0, 0
    by_lot = int(4_000 * share)
    for _ in range(1_000):
        found = measure_lift(played(chance, 4_000 - by_lot, 0.2 * (1 + lift)), played(chance, by_lot, 0.2))
        if found.low is not None and found.high is not None:
            told += 1
            held += found.low <= lift <= found.high
    assert told > 900
    assert 0.93 <= held / told <= 0.97


def test_with_too_few_conversions_it_says_how_many_more_are_needed() -> None:
    chance = np.random.default_rng(1)
    many, few = played(chance, 4_000, 0.2), Arm(100, 10**6, 6, ((6, 10**6), *((0, 0),) * (BUCKETS - 1)))
    assert measure_lift(many, few) == Lift(None, None, None, (14, 0))
    assert measure_lift(few, many) == Lift(None, None, None, (0, 14))
    free = replace(many, spend_micros=0)
    assert measure_lift(many, free).lift is None


def test_a_decision_by_lot_is_made_again_bit_for_bit_and_knows_its_chance() -> None:
    saved, _ = learned()
    replica = Replica(7, 4, saved)
    replica.set_live(LIVE)
    replica.set_multipliers({1: 4e8, 2: 3e8, 3: 5e6})
    shown: dict[int, int] = {}
    for nonce in range(10_000, 10_400):
        asked = replace(ask(nonce, f"viewer {nonce}", BEGINS + (10_000 + nonce) * SECOND), trial=-3)
        record = replica.decide(asked)
        logged = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Record)
        assert msgspec.msgpack.encode(replay_record(7, saved, logged)) == msgspec.msgpack.encode(record)
        assert record.ad
        assert record.floor_micros <= record.price_micros <= record.offer_micros
        assert record.shown is not None
        shown[record.ad] = shown.get(record.ad, 0) + 1
    assert len(shown) == round(1.0 / record.propensity)
    assert min(shown.values()) > 0.6 * 400 / len(shown)


def test_what_a_viewer_is_like_plays_no_part_in_a_lot() -> None:
    saved, _ = learned()
    replica = Replica(7, 4, saved)
    replica.set_live(LIVE)
    one = replica.propose(replace(ask(10_000, "viewer 1", BEGINS + 20_000 * SECOND), trial=-1))
    other = replica.propose(replace(ask(10_000, "viewer 2", BEGINS + 20_000 * SECOND, age=70), trial=-1))
    assert other.propensity == one.propensity < 1.0
    assert {replica.propose(replace(ask(10_000), trial=3)).trial for _ in range(2)} == {3}


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
    arms = [arm for row in parts for arm in (row.learned, row.by_lot)]
    assert sum(arm.views for arm in arms) == 60
    assert sum(row.by_lot.views for row in parts) == len(by_lot)
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
    assert market.db.write_now(purge_trials) == 0
    market.clock.advance(days=121)
    assert market.db.write_now(purge_trials) > 0
    assert measured(market) == []
