"""Learning files of decisions again: in batches, by the learner that serves, published and learned on."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from contatto.cli.models import seal_files
from contatto.delivery.actions import training
from contatto.delivery.actions.ledger import decision_sealing_job, read_record
from contatto.delivery.actions.serving import AdServer
from contatto.delivery.actions.training import (
    judge_files,
    prepare_relearning,
    publish_relearned,
    relearn_files,
)
from contatto.delivery.engines import files as engines
from contatto.delivery.engines.files import make_examples
from contatto.delivery.store import find_newest_version, list_models
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.values import micros
from contatto.learning import batch_learning
from contatto.learning.batch_learning import (
    Observations,
    apply_weights,
    learn_pass,
    measure_residuals,
    weights_of,
)
from contatto.learning.columns import BAD, V_FARM
from contatto.learning.impressions import Snapshots
from contatto.learning.market import MarketState
from contatto.learning.marketplace import new_marketplace
from tests.delivery.learning import Market, add_market
from tests.delivery.logs import write_log
from tests.delivery.played import Played
from tests.delivery.small_world import BEGINS, DAY, play, relearn_market

SPLIT = BEGINS + 2 * DAY


@cache
def played() -> Played:
    """Three days of a small world, decided by a learner that learned all along."""
    made = Played()
    play(made.ask, requests=1_800, days=3.0)
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_log(tmp_path / "log.parquet", played().rows)
    return tmp_path / "log.parquet"


def market_of(made: Played) -> MarketState:
    """A copy of what it has learned."""
    copy = new_marketplace(7)
    copy.restore(made.marketplace.save())
    return copy.market


def test_batches_come_to_what_the_whole_comes_to(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ENOUGH", 1e-5)
    monkeypatch.setattr(training, "MOST_PASSES", 100)
    whole, batches = market_of(played()), market_of(played())
    learned = relearn_files(make_examples, [log], whole, SPLIT)
    monkeypatch.setattr(engines, "BATCH_ROWS", 100)
    assert relearn_files(make_examples, [log], batches, SPLIT)[0] == learned[0] > 800
    assert np.abs(whole.learned.draft[:, BAD]).max() > 0.02, "the log says which leads were unqualified"
    for one, other in (
        (whole.learned.draft, batches.learned.draft),
        (whole.viewers.draft, batches.viewers.draft),
    ):
        assert np.abs(one).max() > 0.2
        assert float(np.abs(one - other).sum()) < 0.02 * float(np.abs(one).sum())


def test_each_example_holds_the_slope_of_its_likelihood(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is where the likeliest weights are: all slopes and the prior cancel out."""
    monkeypatch.setattr(training, "ENOUGH", 1e-5)
    monkeypatch.setattr(training, "MOST_PASSES", 100)
    last: list[tuple[Observations, Snapshots]] = []

    def learn(market: MarketState, observed: Observations, features: Snapshots, seed: int) -> float:
        last[:] = [(observed, features)]
        return learn_pass(market, observed, features, seed)

    monkeypatch.setattr(batch_learning, "learn_pass", learn)
    market = market_of(played())
    relearn_files(make_examples, [log], market, SPLIT)
    ((observed, features),) = last
    missed = measure_residuals(market, observed, features, np.ones_like(features.shares))
    assert features.held == pytest.approx(missed, abs=5e-3)


def test_what_was_learned_again_foretells_the_next_day_as_well_as_the_learner(log: Path) -> None:
    """The learner had the better of it: it went on learning all day."""
    market = market_of(played())
    relearn_files(make_examples, [log], market, SPLIT)
    held = judge_files(make_examples, [log], market, SPLIT, market.now, market.now)
    for candidate, current in held.values():
        assert candidate.count == current.count
    assert held["click"][0].count > 300
    for name, most in (("click", 1.03), ("conversation", 1.03), ("lead", 1.1)):  # leads of 76 conversations
        assert held[name][0].log_loss < held[name][1].log_loss * most
    assert held["click"][0].normalized < 1.0


def test_where_nothing_was_seen_yet_nothing_is_learned_and_nothing_judged(log: Path) -> None:
    market = market_of(played())
    assert relearn_files(make_examples, [log], market, BEGINS - DAY)[0] == 0
    held = judge_files(make_examples, [log], market, BEGINS - DAY, BEGINS, BEGINS)
    assert held == {}


def test_a_model_goes_on_from_weights_that_were_learned_elsewhere(log: Path) -> None:
    """Learning again from what it keeps, it stays about where it was put."""
    elsewhere, market = market_of(played()), market_of(played())
    relearn_files(make_examples, [log], elsewhere, elsewhere.now)
    market.viewers.table[:, V_FARM] = 0.0  # what a suspected click farm taught would be taken back
    apply_weights(market, weights_of(elsewhere))
    slots = np.flatnonzero(elsewhere.learned.draft.any(axis=1))
    before = market.learned.table[slots].copy()
    assert len(slots) > 500
    assert (before == elsewhere.learned.draft[slots]).all()
    relearn_market(market)
    again = market.learned.table[slots]
    assert float(np.abs(again - before).mean()) < 0.01 * float(np.abs(before).mean())


def test_a_weight_that_is_no_number_changes_nothing() -> None:
    market = market_of(played())
    before = market.learned.table.copy()
    market.learned.draft[np.flatnonzero(market.learned.draft.any(axis=1))[3], 0] = np.nan
    with pytest.raises(ValueError, match="no number"):
        apply_weights(market, weights_of(market))
    assert (market.learned.table == before).all()


@pytest.fixture
def shop(database: Database, clock: FixedClock) -> Market:
    return add_market(database, clock)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_model_that_was_learned_again_is_published_served_and_learned_on(
    shop: Market, tmp_path: Path
) -> None:
    shop.play(60)
    shop.train()
    shop.clock.advance(days=1)
    seal_files(shop.db, decision_sealing_job(tmp_path, 1, 90))
    prepared = shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90))
    assert prepared is not None
    shop.play(6)
    shop.train()
    (marketplace, sources), now = prepared, micros(shop.clock.now())
    examples, _ = relearn_files(make_examples, sources, marketplace.market, now)
    assert examples == 60
    made = shop.db.write_now(lambda tx: publish_relearned(tx, shop.id, weights_of(marketplace.market)))
    assert made is not None
    listed = shop.db.read_now(lambda tx: list_models(tx, shop.id))
    assert (made.version, made.through) == (listed[1].version + 1, listed[1].through)
    assert listed[0].origin == "relearned from files"
    shop.clock.advance(seconds=30)
    shop.ask(1, server=AdServer(shop.db))
    assert read_record(shop.entries()[-1].body).version == made.version
    shop.play(6)
    shop.train()
    states = shop.states().values()
    assert sum(state.views for state in states) == 72
    assert shop.db.read_now(lambda tx: find_newest_version(tx, shop.id)) == made.version + 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_without_a_model_or_files_there_is_nothing_to_learn_again(shop: Market, tmp_path: Path) -> None:
    shop.play(6)
    assert shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90)) is None
    shop.train()
    assert shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90)) is None
    shop.clock.advance(days=1)
    seal_files(shop.db, decision_sealing_job(tmp_path, 1, 90))
    assert shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90)) is not None
    next(tmp_path.rglob("*.parquet")).write_bytes(b"another")
    with pytest.raises(OSError, match="is not what was written"):
        shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90))
