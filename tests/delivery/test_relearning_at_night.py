"""Learning again each night: step by step, once a night, and nothing that foretells worse ever serves."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from contatto.cli.models import seal_files
from contatto.delivery.actions.ledger import decision_sealing_job
from contatto.delivery.actions.training import (
    Relearner,
    RelearningResult,
    RelearningTask,
    night_before,
    relearn_in_process,
    relearning_studies,
)
from contatto.delivery.rules import LossComparison, Relearning, Stage, judge_candidate
from contatto.delivery.store import find_relearning, list_models
from contatto.kit.background import Study
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.settings import Settings
from contatto.learning.batch_learning import Weights
from contatto.learning.columns import HEADS
from tests.delivery.learning import Market, add_market


def compared(loss: float, served: float = 0.5, came: int = 50, question: str = "click") -> LossComparison:
    return LossComparison(question, 100, came, loss, served)


@pytest.mark.parametrize(
    ("some", "stage"),
    [
        ([compared(0.5)], Stage.LEARNING),
        ([compared(0.49), compared(0.505, question="lead")], Stage.LEARNING),
        ([compared(0.501)], Stage.KEPT),
        ([compared(0.3), compared(0.52, question="lead")], Stage.KEPT),
        ([compared(math.nan)], Stage.KEPT),
        ([compared(math.inf)], Stage.KEPT),
        ([compared(0.4, came=19)], Stage.TOO_LITTLE),
        ([compared(0.4, came=81)], Stage.TOO_LITTLE),
        ([compared(0.4), compared(0.9, came=3, question="spam")], Stage.LEARNING),
        ([], Stage.TOO_LITTLE),
    ],
)
def test_what_foretells_worse_than_what_serves_is_not_used(some: list[LossComparison], stage: Stage) -> None:
    assert judge_candidate(some) is stage


def test_it_is_off_without_files_and_where_one_says_so(tmp_path: Path) -> None:
    on = Settings(data_dir=tmp_path)
    assert len(relearning_studies(on)) == 1
    for changes in ({"relearn_at_night": False}, {"decision_files_days": 0}, {"seal_after_days": 0}):
        assert relearning_studies(on.model_copy(update=changes)) == ()


@pytest.fixture
def shop(database: Database, clock: FixedClock, tmp_path: Path) -> Market:
    """A business with a model and a file of its decisions."""
    made = add_market(database, clock)
    made.play(30)
    made.train()
    clock.advance(days=1)
    seal_files(made.db, decision_sealing_job(tmp_path, 1, 90))
    return made


def step(shop: Market, relearner: Relearner, answer: RelearningResult | None = None) -> Study:
    """Take the next step; its process gives a given answer, or works here."""
    study = shop.db.read_now(relearner.read_next)
    assert study is not None
    raw = relearn_in_process(study.raw) if answer is None else msgspec.msgpack.encode(answer)
    shop.db.write_now(lambda tx: study.keep(raw, tx))
    return study


def told(shop: Market) -> Relearning:
    found = shop.db.read_now(lambda tx: find_relearning(tx, shop.id))
    assert found is not None
    return found


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_foretells_no_worse_is_published_and_the_steps_are_told(shop: Market) -> None:
    relearner = Relearner(least=1)
    relearner.start_over()
    step(shop, relearner)
    assert (told(shop).stage, told(shop).started_at) == (Stage.JUDGING, shop.clock.now())
    ask = msgspec.msgpack.decode(
        step(shop, relearner, RelearningResult(9, [compared(0.4)])).raw, type=RelearningTask
    )
    assert (ask.is_judging, ask.from_ts < ask.until_ts < ask.as_of_ts) == (True, True)
    assert told(shop).stage is Stage.LEARNING
    step(shop, relearner)
    last = told(shop)
    assert (last.stage, last.views, last.compared) == (Stage.PUBLISHED, 30, (compared(0.4),))
    newest = shop.db.read_now(lambda tx: list_models(tx, shop.id))[0]
    assert (newest.version, newest.origin) == (last.version, "relearned from files")
    relearner.start_over()
    assert shop.db.read_now(relearner.read_next) is None
    shop.clock.advance(days=1)
    relearner.start_over()
    assert shop.db.read_now(relearner.read_next) is not None


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_days_judge_what_was_learned_without_them(shop: Market) -> None:
    """Here too little came in them: the process says so, and nothing is published."""
    before = shop.newest()
    shop.clock.advance(days=3)
    relearner = Relearner(least=1)
    relearner.start_over()
    step(shop, relearner)
    step(shop, relearner)
    assert told(shop).stage is Stage.TOO_LITTLE
    assert [each.question for each in told(shop).compared] == ["click", "conversation", "lead", "spam"]
    assert shop.newest() == before
    assert shop.db.read_now(relearner.read_next) is None


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("weights", [None, "no number"])
def test_nothing_is_published_of_what_broke_off_or_is_no_number(shop: Market, weights: str | None) -> None:
    before, relearner = shop.newest(), Relearner(least=1)
    relearner.start_over()
    step(shop, relearner)
    step(shop, relearner, RelearningResult(9, [compared(0.4)]))
    if weights is None:
        assert shop.db.read_now(relearner.read_next) is not None  # its process is killed: nothing is kept
        step(shop, relearner)
    else:
        means = np.full((1, HEADS), math.nan, np.float32)
        step(
            shop,
            relearner,
            RelearningResult(9, weights=Weights(np.array([1]).tobytes(), means.tobytes(), [], b"")),
        )
    assert (told(shop).stage, told(shop).version) == (Stage.BROKEN, 0)
    assert shop.newest() == before
    assert shop.db.read_now(relearner.read_next) is None


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_log_that_the_learner_keeps_whole_is_not_learned_again(shop: Market) -> None:
    relearner = Relearner()
    relearner.start_over()
    assert shop.db.read_now(relearner.read_next) is None


def test_a_night_begins_at_two(clock: FixedClock) -> None:
    now = clock.now().replace(hour=1, minute=59)
    assert night_before(now) == night_before(now.replace(hour=0))
    later = now.replace(hour=2, minute=0)
    assert (night_before(later), (later - night_before(now)).days) == (
        later.replace(second=0, microsecond=0), 1,
    )  # fmt: skip
