"""Arms of the benchmark of delivery: worlds, seeds and players, one after the other or side by side."""

import argparse
import gc
import multiprocessing
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.delivery_parts.without import WHOLE, engine_without
from contatto.cli.deliver import load_kernels
from contatto.simulator.worlds.game import Program
from contatto.simulator.worlds.simulation import Player, RunResults, Size, WorldName, compare, make_world

TARGET = {"bid_micros": 350_000.0}
"""The cost target of the default world; its budget is three times the usual one, so that it does not bind."""


@dataclass(frozen=True)
class Case:
    """One world of one seed, and who plays it; ``case`` groups what is summed up together.

    ``without`` names the part that the engine lacks.
    """

    case: str
    world: WorldName
    seed: int
    size: Size
    arms: tuple[Player, ...]
    changes: dict[str, float] = field(default_factory=dict)
    settings: dict[str, float] = field(default_factory=dict)
    programs: tuple[Program, ...] = ()
    without: str = WHOLE


NAMED: dict[str, tuple[WorldName, dict[str, float]]] = {
    "default": (WorldName.LINEAR, {}),
    "tension 2": (WorldName.LINEAR, {"tension": 2.0}),
    "target cost": (WorldName.LINEAR, TARGET),
    "segments": (WorldName.SEGMENTS, {}),
    "thresholds": (WorldName.THRESHOLDS, {}),
    "interests": (WorldName.INTERESTS, {}),
    "strangers": (WorldName.STRANGERS, {}),
    "hours": (WorldName.HOURS, {}),
    "variety": (WorldName.VARIETY, {}),
    "default repeats": (WorldName.LINEAR, {"repeats": 1.0}),
    "segments repeats": (WorldName.SEGMENTS, {"repeats": 1.0}),
    "default idle": (WorldName.LINEAR, {"idle": 1.0}),
    "segments idle": (WorldName.SEGMENTS, {"idle": 1.0}),
    "long game": (
        WorldName.LINEAR,
        {"requests": 80_000, "days": 10, "ads": 60, "viewers": 40_000, "budget_micros": 2_000_000},
    ),
}
"""The worlds of the tables, and what of their settings is changed."""

UNUSUAL = ("tension 2", "default repeats", "segments repeats", "default idle", "segments idle", "long game")
USUAL = tuple(name for name in NAMED if name not in UNUSUAL)


def add_game_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose games and how many are played at once."""
    parser.add_argument("--seeds", type=_numbers, default=(), metavar="N,N", help="seeds of the worlds")
    parser.add_argument("--case", action="append", choices=list(NAMED), help="only this case; may come again")
    parser.add_argument("--size", choices=list(Size), help="how much of a world is played")
    parser.add_argument("--jobs", type=int, default=1, help="how many worlds are played at once")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def cases(
    names: Sequence[str],
    seeds: Sequence[int],
    size: Size,
    settings: dict[str, float],
    programs: tuple[Program, ...] = (),
) -> list[Case]:
    """List the games of the cases of these names."""
    return [
        Case(name, NAMED[name][0], seed, size, _arms(name), _changes(name, size), settings, programs)
        for name in names
        for seed in seeds
    ]


def _arms(name: str) -> tuple[Player, ...]:
    if name == "target cost":
        return (Player.LEAD, Player.RANDOM, Player.ORACLE_OBS)
    return (Player.LEAD,) if name == "long game" else tuple(Player)


def _changes(name: str, size: Size) -> dict[str, float]:
    changes = NAMED[name][1]
    if name != "target cost":
        return changes
    budget = make_world(WorldName.LINEAR, 0, size).groups[0].budget_micros
    return {**changes, "budget_micros": 3.0 * budget} | ({"days": 10.0} if size is Size.FULL else {})


def play_all(all_cases: Sequence[Case], jobs: int) -> Iterable[tuple[Case, RunResults]]:
    """Play every case; with several jobs in processes of their own."""
    if jobs <= 1:
        for case in all_cases:
            yield case, _play(case)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_play_of, all_cases)


def _play_of(case: Case) -> tuple[Case, RunResults]:
    return case, _play(case)


def _play(case: Case) -> RunResults:
    load_kernels()
    gc.disable()  # as `contatto deliver` does
    started = time.perf_counter()
    world = make_world(case.world, case.seed, case.size, **case.changes)
    with engine_without(case.without) as settings:
        found = compare(world, case.arms, {**case.settings, **settings}, programs=case.programs)
    took = time.perf_counter() - started
    print(f"{case.case}, seed {case.seed}: played in {took:.0f} s", file=sys.stderr, flush=True)
    return found
