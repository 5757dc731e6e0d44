"""Several players in one world beside each other: the engine with both goals, chance, and those who know."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final

from contatto.simulator.worlds.auction import play
from contatto.simulator.worlds.engine import Engine
from contatto.simulator.worlds.lines import Play, run_of
from contatto.simulator.worlds.lookalike import (
    Lifts,
    ShownLifts,
    first_leads,
    known_worth,
    measure_lifts,
    measure_shown,
    rank_by_lines,
    rank_by_worth,
    true_worth,
)
from contatto.simulator.worlds.metrics import Figures, measure
from contatto.simulator.worlds.model import World
from contatto.simulator.worlds.policies import Blind, Observer, Oracle, Policy


class Arm(StrEnum):
    """Who plays: the engine with the goals Lead and Conversation, any ad, and those who know the world."""

    LEAD = "lead"
    CONVERSATION = "conversation"
    RANDOM = "random"
    ORACLE_CONV = "oracle_conv"
    ORACLE_OBS = "oracle_obs"
    ORACLE = "oracle"


ENGINES = frozenset({Arm.LEAD, Arm.CONVERSATION})
_POLICIES: Final[dict[Arm, Policy]] = {
    Arm.RANDOM: Blind(),
    Arm.ORACLE_CONV: Observer("oracle_conv", "conversation"),
    Arm.ORACLE_OBS: Observer(),
    Arm.ORACLE: Oracle(),
}

type OnDay = Callable[[Arm, int], None]


@dataclass(slots=True)
class Compared:
    """What each player did in one world, and whom each finds most like the engine's first leads."""

    world: str
    seed: int
    figures: dict[Arm, Figures] = field(default_factory=dict)
    faults: dict[Arm, dict[str, int]] = field(default_factory=dict)
    lifts: dict[Arm, Lifts] = field(default_factory=dict)
    shown_lifts: ShownLifts | None = None
    requests_per_s: dict[Arm, float] = field(default_factory=dict)


def compare(
    world: World,
    arms: Sequence[Arm] = tuple(Arm),
    settings: Mapping[str, float] | None = None,
    on_day: OnDay | None = None,
) -> Compared:
    """Let the players play the same world with the same luck, one after the other.

    Args:
        world: the world.
        arms: who plays.
        settings: numbers of the engine.
        on_day: is told of each day that an arm has played.
    """
    found = Compared(world.name, world.seed)
    for arm in arms:
        if arm in ENGINES:
            _play_engine(world, arm, Engine(world.seed, settings=settings), found, on_day)
        else:
            run = play(world, _POLICIES[arm], partial(on_day, arm) if on_day else None)
            found.figures[arm], found.faults[arm] = measure(run), run.faults
    return found


def _play_engine(world: World, arm: Arm, engine: Engine, found: Compared, on_day: OnDay | None) -> None:
    started = time.process_time()
    game = Play(world, engine, arm.value)
    game.play(partial(on_day, arm) if on_day else None)
    seconds = time.process_time() - started
    run = run_of(game, arm.value, seconds)
    found.figures[arm] = measure(run)
    found.faults[arm] = {
        **run.faults,
        **({"lines refused": len(engine.complaints)} if engine.complaints else {}),
    }
    found.requests_per_s[arm] = sum(len(world.requests(day)) for day in range(world.days)) / seconds
    if arm is Arm.LEAD:
        last, seeds = world.days - 1, first_leads(game)
        ranks = {
            Arm.LEAD: rank_by_lines(game),
            Arm.ORACLE_OBS: rank_by_worth(known_worth(world, last, game.past)),
            Arm.ORACLE: rank_by_worth(true_worth(world, last)),
        }
        found.shown_lifts = measure_shown(game)
        found.lifts = {who: measure_lifts(world, seeds, rank) for who, rank in ranks.items()}
