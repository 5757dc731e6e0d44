"""The delivery engine plays the worlds: it keeps their rules, in process and behind a pipe alike."""

import sys
from pathlib import Path

import numpy as np
import pytest

from contatto.simulator.worlds.features import LinearSetting, LinearWorld
from contatto.simulator.worlds.game import EnginePlayer, Game, Piped, Program, ProgramError
from contatto.simulator.worlds.metrics import measure
from contatto.simulator.worlds.model import World
from contatto.simulator.worlds.simulation import (
    Player,
    RunResults,
    Size,
    WorldName,
    make_world,
    play_program,
)
from tests.simulator import reference


@pytest.mark.parametrize("name", list(WorldName))
def test_the_engine_keeps_every_rule_of_every_world(name: WorldName) -> None:
    engine = EnginePlayer(1)
    run = Game(short_world(name), engine.answer, "lead").play()
    assert run.faults == {}
    assert engine.complaints == []
    assert len(run.shown.ts) > 500


def short_world(name: WorldName) -> World:
    """Two days in which all of a world's edits happen."""
    late = {"late_day": 1.0} if name is WorldName.LINEAR else {}
    return make_world(name, 7, Size.TINY, days=2, requests=4_000, **late)


def test_the_engine_that_takes_any_ad_keeps_the_rules_too() -> None:
    run = Game(short_world(WorldName.SEGMENTS), EnginePlayer(1, is_random=True).answer, "lead").play()
    assert run.faults == {}
    assert measure(run).spend > 0


REFERENCE = str(Path(reference.__file__))


def small_world() -> World:
    setting = LinearSetting(viewers=300, ads=4, days=2, requests=1_500, late_ads=1, late_day=1)
    return LinearWorld(setting, 2)


def test_a_program_behind_a_pipe_gives_the_same_run() -> None:
    world = small_world()
    piped = Piped(
        (sys.executable, "-c", "from contatto.cli.main import app; app()", "deliver", "--seed", "3")
    )
    one = Game(world, piped.answer, "lead").play()
    assert piped.close() == 0
    two = Game(world, EnginePlayer(3).answer, "lead").play()
    assert len(one.shown.ts) > 100
    for name in one.shown.__slots__:
        assert np.array_equal(getattr(one.shown, name), getattr(two.shown, name)), name
    assert one.reports == two.reports


def test_any_program_plays_both_goals_beside_the_others() -> None:
    world, program = small_world(), Program.parse(f"{REFERENCE} --fault ''")
    compared = RunResults(world.name, world.seed)
    for goal in (Player.LEAD, Player.CONVERSATION):
        play_program(world, program, goal, compared)
    assert list(compared.figures) == ["reference lead", "reference conversation"]
    same = measure(Game(world, reference.RandomPlayer(world.seed).answer, "lead").play())
    assert compared.figures["reference lead"].leads_by_day == same.leads_by_day
    assert compared.faults == {"reference lead": {}, "reference conversation": {}}
    assert compared.requests_per_s["reference lead"] > 100
    assert 0 < compared.longest_wait_s["reference lead"] < 60


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("dies", "ended with exit code 1 before it answered request r0-.*: out of ideas"),
        ("no JSON", "answered request r0-.* badly .*: yes"),
        ("another request", "badly .request_id is r0"),
        ("unknown ad", "names an unknown ad: a-99"),
        ("no price", "badly .*Expected `int`, got `null`"),
        ("price is a text", "badly .*Expected `int`, got `str`"),
    ],
)
def test_a_program_that_fails_is_named_with_its_reason(fault: str, says: str) -> None:
    program = Program.parse(f"{REFERENCE} --fault '{fault}'")
    compared = RunResults("linear", 2)
    with pytest.raises(ProgramError, match=says):
        play_program(small_world(), program, Player.LEAD, compared)
    assert compared.figures == {}


def test_a_program_that_hangs_is_ended_after_the_time_limit() -> None:
    piped = Piped((sys.executable, REFERENCE, "--fault", "hangs"), time_limit_s=2.0)
    with pytest.raises(ProgramError, match=r"did not answer request r0-\d+ within 2 s"):
        Game(small_world(), piped.answer, "lead").play()
    assert piped.close() != 0


def test_a_command_that_is_none_is_refused() -> None:
    with pytest.raises(ProgramError, match="cannot be started: No such file"):
        Piped(Program.parse("/nowhere/player --fast").command)
    with pytest.raises(ValueError, match="empty"):
        Program.parse("  ")
