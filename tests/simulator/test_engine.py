"""The delivery engine plays the worlds: it keeps their rules, in process and behind a pipe alike."""

import sys

import numpy as np
import pytest

from contatto.simulator.worlds.choices import Size, WorldName, make_world
from contatto.simulator.worlds.engine import Engine, Piped
from contatto.simulator.worlds.linear import LinearSetting, LinearWorld
from contatto.simulator.worlds.lines import play_lines
from contatto.simulator.worlds.metrics import measure
from contatto.simulator.worlds.model import World


@pytest.mark.parametrize("name", list(WorldName))
def test_the_engine_keeps_every_rule_of_every_world(name: WorldName) -> None:
    engine = Engine(1)
    run = play_lines(short_world(name), engine, "lead", "learned")
    assert run.faults == {}
    assert engine.complaints == []
    assert len(run.shown.ts) > 500


def short_world(name: WorldName) -> World:
    """Two days in which all of a world's edits happen."""
    late = {"late_day": 1.0} if name is WorldName.LINEAR else {}
    return make_world(name, 7, Size.TINY, days=2, requests=4_000, **late)


def test_the_engine_that_takes_any_ad_keeps_the_rules_too() -> None:
    run = play_lines(short_world(WorldName.SEGMENTS), Engine(1, is_random=True), "lead", "random")
    assert run.faults == {}
    assert measure(run).spend > 0


def test_a_program_behind_a_pipe_gives_the_same_run() -> None:
    world = LinearWorld(LinearSetting(viewers=300, ads=4, days=2, requests=1_500, late_ads=1, late_day=1), 2)
    piped = Piped(
        [sys.executable, "-c", "from contatto.cli.main import app; app()", "deliver", "--seed", "3"]
    )
    one = play_lines(world, piped, "lead", "piped")
    assert piped.close() == 0
    two = play_lines(world, Engine(3), "lead", "learned")
    assert len(one.shown.ts) > 100
    for name in one.shown.__slots__:
        assert np.array_equal(getattr(one.shown, name), getattr(two.shown, name)), name
    assert one.reports == two.reports


def test_a_program_that_ends_is_noticed() -> None:
    piped = Piped([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(BrokenPipeError):
        piped.answer({"type": "request", "request_id": "r", "ts": 0, "viewer_id": "v", "floor_micros": 1})
    assert piped.close() == 3
