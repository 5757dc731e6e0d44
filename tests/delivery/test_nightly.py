"""Learning files of decisions again by shards: sums that add up, the same weights however many shards."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contatto.cli.seal import seal_decisions
from contatto.delivery.actions import nightly
from contatto.delivery.actions.nightly import (
    Span,
    judge_files,
    prepare_relearning,
    publish_relearned,
    relearn_files,
)
from contatto.delivery.actions.packing import read_record
from contatto.delivery.actions.sealing import decision_sealing_job
from contatto.delivery.actions.serving import AdServer
from contatto.delivery.engines import computing
from contatto.delivery.engines.computing import Embedded
from contatto.delivery.predict.nightly import lay_over
from contatto.delivery.predict.relearning import relearn_market
from contatto.delivery.predict.replica import new_marketplace
from contatto.delivery.rules.columns import FIRST_AGAIN, HEADS, HEADS_AGAIN
from contatto.delivery.rules.descending import Descent
from contatto.delivery.rules.relearning import slope_of
from contatto.delivery.rules.summing import add_slopes, loss_of
from contatto.delivery.store import models
from contatto.kit.clock import FixedClock
from contatto.kit.db.database import Database
from contatto.kit.timestamps import micros
from tests.delivery.learning import Market, add_market
from tests.delivery.logs import write_log
from tests.delivery.played import Played
from tests.delivery.small_world import BEGINS, DAY, play

Floats = NDArray[np.float64]
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


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_walk_down_ends_at_the_lowest_point(seed: int) -> None:
    lots = np.random.default_rng(seed)
    turned = np.linalg.qr(lots.normal(size=(30, 30)))[0]
    bowl = turned @ np.diag(np.logspace(-1, 3, 30)) @ turned.T
    lowest = lots.normal(size=30)
    walk = Descent(np.zeros(30), 1e-14)
    for _ in range(400):
        if not walk.is_done:
            away = walk.trial - lowest
            walk.take(1.0 + 0.5 * float(away @ bowl @ away), bowl @ away, np.diag(bowl))
    assert walk.best == pytest.approx(lowest, abs=1e-3)


@pytest.mark.parametrize("came", [-1.0, 1.0, 0.3, 0.9])
def test_a_loss_is_the_integral_of_its_slopes(came: float) -> None:
    for z in np.linspace(-6.0, 8.0, 57):
        steep = (loss_of(z + 1e-5, came) - loss_of(z - 1e-5, came)) / 2e-5
        assert steep == pytest.approx(-slope_of(float(z), came), abs=1e-6)


def test_slopes_of_weights_are_right_though_viewers_settle_meanwhile() -> None:
    lots = np.random.default_rng(5)
    count, slots = 40, 7
    offsets = np.arange(0, 6 * count + 1, 6)
    listed, weights = lots.integers(0, slots, 6 * count), lots.normal(size=6 * count)
    came = lots.choice([-1.0, 0.0, 0.4, 1.0], size=(count, HEADS_AGAIN))
    firsts = np.array([0, 8, 9, 25, count])
    spreads = np.repeat([[0.0], [0.5], [2.0], [0.1]], HEADS_AGAIN, axis=1)
    counts_for = lots.uniform(0.2, 1.0, size=came.shape)

    def look(means: Floats) -> tuple[Floats, Floats, Floats]:
        slopes, bends, losses = np.zeros_like(means), np.zeros_like(means), np.zeros(HEADS_AGAIN)
        add_slopes(
            firsts, spreads, offsets, listed, weights, came, counts_for, means,
            np.zeros((4, HEADS_AGAIN)), np.zeros_like(came), slopes, bends, losses,
        )  # fmt: skip
        return losses, slopes, bends

    means = lots.normal(size=(slots, HEADS_AGAIN))
    _, slopes, bends = look(means)
    for slot in range(slots):
        step = np.zeros_like(means)
        step[slot] = 1e-5
        assert (look(means + step)[0] - look(means - step)[0]) / 2e-5 == pytest.approx(slopes[slot], abs=1e-5)
    assert (bends >= 0.0).all()


def test_shards_come_to_what_the_whole_comes_to(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    market = played().marketplace.market
    sharded = relearn_files(Embedded(), [log], market, SPLIT)
    for module in (computing, nightly):
        monkeypatch.setattr(module, "SHARDS", 1)
    whole = relearn_files(Embedded(), [log], market, SPLIT)
    assert sharded.examples == whole.examples
    assert sharded.passes == whole.passes
    assert (sharded.weights.slots == whole.weights.slots).all()
    assert sharded.weights.means == pytest.approx(whole.weights.means, abs=1e-6)
    assert sharded.weights.bends == pytest.approx(whole.weights.bends, rel=1e-6)
    assert set(sharded.weights.effects) == set(whole.weights.effects)
    for viewer, effects in whole.weights.effects.items():
        assert sharded.weights.effects[viewer] == pytest.approx(effects, abs=1e-6)


def test_what_was_learned_again_foretells_the_next_day_as_well_as_the_learner(log: Path) -> None:
    """The learner had the better of it: it went on learning all day."""
    market = played().marketplace.market
    found = relearn_files(Embedded(), [log], market, SPLIT)
    held = judge_files(Embedded(), [log], market, found.weights, Span(SPLIT, market.now, market.now))
    assert {name: each.count for name, each in held.estimated.items()} == {
        name: each.count for name, each in held.told.items()
    }
    assert held.estimated["click"].count > 300
    for name in ("click", "conversation", "lead"):
        assert held.estimated[name].log_loss < held.told[name].log_loss * 1.03
    assert held.estimated["click"].normalized < 1.0


def test_a_model_goes_on_from_weights_that_were_learned_elsewhere(log: Path) -> None:
    """Learning again from what it keeps, it stays about where it was put."""
    made = new_marketplace(7)
    made.restore(played().marketplace.save())
    market = made.market
    weights = relearn_files(Embedded(), [log], market, market.now).weights
    sure = market.learned.table[:, HEADS:].copy()
    lay_over(market, weights)
    heads = slice(FIRST_AGAIN, FIRST_AGAIN + HEADS_AGAIN)
    laid = market.learned.table[weights.slots, heads].copy()
    assert laid == pytest.approx(weights.means, abs=1e-6)
    assert (market.learned.table[:, HEADS:][sure > 0.0] == sure[sure > 0.0]).all()
    relearn_market(market)
    again = market.learned.table[weights.slots, heads]
    assert float(np.abs(again - laid).mean()) < 0.1 * float(np.abs(laid).mean())


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
    seal_decisions(shop.db, decision_sealing_job(tmp_path, 1, 90))
    prepared = shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90))
    assert prepared is not None
    shop.play(6)
    shop.train()
    now = micros(shop.clock.now())
    found = relearn_files(Embedded(), prepared.sources, prepared.market, now)
    assert found.examples == 60
    made = shop.db.write_now(lambda tx: publish_relearned(tx, shop.id, found.weights))
    assert made is not None
    listed = shop.db.read_now(lambda tx: models.list_models(tx, shop.id))
    assert (made.version, made.through) == (listed[1].version + 1, listed[1].through)
    assert listed[0].origin == "relearned from files"
    shop.clock.advance(seconds=30)
    shop.ask(1, server=AdServer(shop.db))
    assert read_record(shop.entries()[-1].body).version == made.version
    shop.play(6)
    shop.train()
    states = shop.states().values()
    assert sum(state.views for state in states) == 72
    assert shop.db.read_now(lambda tx: models.find_newest_version(tx, shop.id)) == made.version + 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_without_a_model_or_files_there_is_nothing_to_learn_again(shop: Market, tmp_path: Path) -> None:
    shop.play(6)
    assert shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90)) is None
    shop.train()
    assert shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90)) is None
    shop.clock.advance(days=1)
    seal_decisions(shop.db, decision_sealing_job(tmp_path, 1, 90))
    assert shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90)) is not None
    next(tmp_path.rglob("*.parquet")).write_bytes(b"another")
    with pytest.raises(OSError, match="is not what was written"):
        shop.db.read_now(lambda tx: prepare_relearning(tx, shop.id, 90))
