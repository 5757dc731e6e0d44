"""Worlds by name, and the comparison of players that `contatto simulate` runs."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import partial
from itertools import product
from typing import Any, Final

from contatto.simulator.worlds.features import LinearSetting, LinearWorld, ThresholdsSetting, ThresholdsWorld
from contatto.simulator.worlds.game import EnginePlayer, Game, Piped, Program, ProgramError, Run
from contatto.simulator.worlds.metrics import (
    Lifts,
    Rank,
    RunFigures,
    first_leads,
    mean_by_group,
    measure,
    measure_lifts,
    rank_by_lines,
    rank_by_worth,
    true_worth,
)
from contatto.simulator.worlds.model import World, WorldSetting
from contatto.simulator.worlds.policies import Auction
from contatto.simulator.worlds.segments import SegmentsSetting, SegmentsWorld
from contatto.simulator.worlds.tastes import (
    HoursSetting,
    HoursWorld,
    InterestsSetting,
    InterestsWorld,
    StrangersSetting,
    StrangersWorld,
)
from contatto.simulator.worlds.variety import VarietySetting, VarietyWorld


class WorldName(StrEnum):
    LINEAR = "linear"
    SEGMENTS = "segments"
    THRESHOLDS = "thresholds"
    INTERESTS = "interests"
    STRANGERS = "strangers"
    HOURS = "hours"
    VARIETY = "variety"


BUILDING_SEEDS: Final = range(100)
"""Seeds to build and tune delivery with."""
REPORTING_SEEDS: Final = (110, 111, 112)
"""Seeds for reports alone; nothing is ever chosen by them or by any other seed from 100 on."""


class Size(StrEnum):
    """Size of a world: reports use ``small``, tests ``tiny``; ``full`` is a larger market."""

    FULL = "full"
    SMALL = "small"
    TINY = "tiny"


class NoSuchSetting(Exception):
    """An unknown setting of a world, or a value out of its bounds."""


_WORLDS: Final[Mapping[WorldName, Callable[[Any, int], World]]] = {
    WorldName.LINEAR: LinearWorld,
    WorldName.SEGMENTS: SegmentsWorld,
    WorldName.THRESHOLDS: ThresholdsWorld,
    WorldName.INTERESTS: InterestsWorld,
    WorldName.STRANGERS: StrangersWorld,
    WorldName.HOURS: HoursWorld,
    WorldName.VARIETY: VarietyWorld,
}
SETTINGS: Final[Mapping[tuple[WorldName, Size], WorldSetting]] = {
    (WorldName.LINEAR, Size.FULL): LinearSetting(),
    (WorldName.LINEAR, Size.SMALL): LinearSetting(
        viewers=9_000, ads=8, days=10, requests=25_000, budget_micros=4_500_000, late_ads=2, late_day=5
    ),
    (WorldName.LINEAR, Size.TINY): LinearSetting(
        viewers=3_000, ads=5, days=4, requests=9_000, late_ads=1, late_day=2
    ),
    (WorldName.SEGMENTS, Size.FULL): SegmentsSetting(),
    (WorldName.SEGMENTS, Size.SMALL): SegmentsSetting(
        viewers=6_000, days=10, requests=24_000, budget_micros=2_400_000
    ),
    (WorldName.SEGMENTS, Size.TINY): SegmentsSetting(
        viewers=2_000, days=4, requests=8_000, budget_micros=900_000, farm_day=1
    ),
    (WorldName.THRESHOLDS, Size.FULL): ThresholdsSetting(),
    (WorldName.THRESHOLDS, Size.SMALL): ThresholdsSetting(
        viewers=4_500, days=10, requests=25_000, budget_micros=2_500_000
    ),
    (WorldName.THRESHOLDS, Size.TINY): ThresholdsSetting(
        viewers=2_000, days=8, requests=6_000, budget_micros=700_000
    ),
    (WorldName.INTERESTS, Size.FULL): InterestsSetting(),
    (WorldName.INTERESTS, Size.SMALL): InterestsSetting(
        viewers=9_000, days=7, requests=34_000, budget_micros=24_000_000
    ),
    (WorldName.INTERESTS, Size.TINY): InterestsSetting(
        viewers=1_500, days=5, requests=6_000, budget_micros=5_000_000, farm_day=2
    ),
    (WorldName.STRANGERS, Size.FULL): StrangersSetting(),
    (WorldName.STRANGERS, Size.SMALL): StrangersSetting(
        viewers=90_000, days=10, requests=25_000, budget_micros=7_500_000
    ),
    (WorldName.STRANGERS, Size.TINY): StrangersSetting(
        viewers=15_000, days=5, requests=6_000, budget_micros=1_200_000, farm_day=1
    ),
    (WorldName.HOURS, Size.FULL): HoursSetting(),
    (WorldName.HOURS, Size.SMALL): HoursSetting(
        viewers=7_000, days=10, requests=25_000, budget_micros=4_500_000
    ),
    (WorldName.HOURS, Size.TINY): HoursSetting(
        viewers=2_000, days=5, requests=6_000, budget_micros=1_000_000, farm_day=1
    ),
    (WorldName.VARIETY, Size.FULL): VarietySetting(),
    (WorldName.VARIETY, Size.SMALL): VarietySetting(
        viewers=10_000, days=8, requests=25_000, budget_micros=30_000_000
    ),
    (WorldName.VARIETY, Size.TINY): VarietySetting(
        viewers=2_000, days=5, requests=6_000, budget_micros=7_000_000, farm_day=1
    ),
}
MOST: Final = {"days": 60, "requests": 1_000_000, "viewers": 1_000_000, "ads": 500, "groups": 500}
"""Largest settings of a world, so that a typing error does not exhaust the memory."""


def make_world(name: WorldName, seed: int, size: Size = Size.FULL, **changes: float) -> World:
    """Make a world with some of its settings changed. Raises NoSuchSetting."""
    defaults: Any = SETTINGS[name, size]
    types = {field.name: type(getattr(defaults, field.name)) for field in fields(defaults)}
    for setting, value in changes.items():
        if setting not in types:
            raise NoSuchSetting(f"{setting!r} is none of the settings of {name}: {', '.join(types)}")
        is_budget = setting.endswith("_micros") and setting != "bid_micros"
        least, most = int(setting in MOST or is_budget), MOST.get(setting, 10**12)
        if not least <= value <= most:
            raise NoSuchSetting(f"{setting} is a number from {least} to {most}")
    converted = {setting: types[setting](value) for setting, value in changes.items()}
    world = _WORLDS[name](replace(defaults, **converted), seed)
    if world.setting.repeats:
        world.repeat_fields()
    if world.setting.idle:
        world.add_idle_fields()
    return world


class Player(StrEnum):
    """Players: the engine with either goal, random ads, and oracles."""

    LEAD = "lead"
    CONVERSATION = "conversation"
    RANDOM = "random"
    ORACLE_CONV = "oracle_conv"
    ORACLE_OBS = "oracle_obs"
    ORACLE = "oracle"


ENGINES = frozenset({Player.LEAD, Player.CONVERSATION})

type OnDayOf = Callable[[str, int], None]


@dataclass(slots=True)
class RunResults:
    """Figures of all players of one world, by the name of the player: an arm, or a program with its goal.

    ``faults`` counts the rules that a player broke, ``lifts`` measure its ranking of lookalikes. A program
    that could not play to the end has no figures, but a reason in ``failures``.
    """

    world: str
    seed: int
    figures: dict[str, RunFigures] = field(default_factory=dict)
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    lifts: dict[str, Lifts] = field(default_factory=dict)
    requests_per_s: dict[str, float] = field(default_factory=dict)
    """Requests for each second of CPU time of the player alone, learning included."""
    longest_wait_s: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, run: Run, game: Game, cpu_s: float, faults: dict[str, int]) -> None:
        """Add the run of a player that answered lines; ``faults`` counts problems outside the game."""
        self.figures[name], self.faults[name] = measure(run), {**run.faults, **faults}
        self.requests_per_s[name] = game.requests / cpu_s
        self.longest_wait_s[name] = game.longest_wait_s


def compare(
    world: World,
    arms: Sequence[Player] = tuple(Player),
    settings: Mapping[str, float] | None = None,
    on_day: OnDayOf = lambda *_: None,
    programs: Sequence[Program] = (),
) -> RunResults:
    """Play the same world, with the same random numbers, by each player in turn.

    Each of the ``programs`` plays every goal that the engine plays; ``settings`` are those of the engine.
    """
    compared = RunResults(world.name, world.seed)
    for arm in arms:
        report_day = partial(on_day, arm)
        if arm not in ENGINES:
            run = Auction(world, arm).play(report_day)
            compared.figures[arm], compared.faults[arm] = measure(run), run.faults
            continue
        engine = EnginePlayer(world.seed, settings=settings)
        game = Game(world, engine.answer, arm.value)
        process_s, thread_s = time.process_time(), time.thread_time()
        run = game.play(report_day)
        # Learning may use threads of its own: all CPU time counts but that of the world in this thread.
        world_s = time.thread_time() - thread_s - game.cpu_s
        cpu_s = time.process_time() - process_s - world_s
        refused = {"lines refused": len(engine.complaints)} if engine.complaints else {}
        compared.add(arm, run, game, cpu_s, refused)
        if arm is Player.LEAD:
            last, seeds = world.days - 1, first_leads(game)
            predicted = world.observable(last, game.past).leads
            ranks: dict[Player, Rank] = {
                Player.LEAD: partial(rank_by_lines, game),
                Player.ORACLE_OBS: rank_by_worth(mean_by_group(world, predicted)),
                Player.ORACLE: rank_by_worth(true_worth(world, last)[0]),
            }
            compared.lifts |= {who: measure_lifts(world, seeds, rank) for who, rank in ranks.items()}
    for program, goal in product(programs, [arm for arm in arms if arm in ENGINES]):
        try:
            play_program(world, program, goal, compared, on_day)
        except ProgramError as error:
            compared.failures[f"{program.name} {goal}"] = str(error)
    return compared


def play_program(
    world: World, program: Program, goal: Player, compared: RunResults, on_day: OnDayOf = lambda *_: None
) -> None:
    """Play a world by a program, and add its figures to the results. Raises ProgramError: it broke off."""
    name = f"{program.name} {goal}"
    with closing(Piped((*program.command, "--seed", str(world.seed)))) as piped:
        game = Game(world, piped.answer, goal.value)
        run = game.play(partial(on_day, name))
        if goal is Player.LEAD:
            compared.lifts[name] = measure_lifts(world, first_leads(game), partial(rank_by_lines, game))
        code = piped.close()
    compared.add(name, run, game, max(piped.cpu_s, 1e-9), {f"exit code {code}": 1} if code else {})
