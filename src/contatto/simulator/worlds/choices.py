"""The worlds by name, each at its usual size, at a small one for work on the learner, and tiny for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from contatto.simulator.worlds.interests import InterestsSetting, InterestsWorld
from contatto.simulator.worlds.linear import LinearSetting, LinearWorld
from contatto.simulator.worlds.model import World
from contatto.simulator.worlds.segments import SegmentsSetting, SegmentsWorld
from contatto.simulator.worlds.strangers import StrangersSetting, StrangersWorld
from contatto.simulator.worlds.thresholds import ThresholdsSetting, ThresholdsWorld


class WorldName(StrEnum):
    LINEAR = "linear"
    SEGMENTS = "segments"
    THRESHOLDS = "thresholds"
    INTERESTS = "interests"
    STRANGERS = "strangers"


BUILDING_SEEDS: Final = range(100)
"""Seeds to build and tune delivery with."""
REPORTING_SEEDS: Final = (110, 111, 112)
"""Seeds for reports alone; nothing is ever chosen by them or by any other seed from 100 on."""


class Size(StrEnum):
    """Sizes of a world: reports take ``small``, and ``full`` is a market of some size."""

    FULL = "full"
    SMALL = "small"
    TINY = "tiny"


class NoSuchSetting(Exception):
    """A setting that a world does not have, or a value that it cannot have; the text says which."""


@dataclass(frozen=True, slots=True)
class _Choice:
    make: Any
    sizes: Mapping[Size, Any]


_CHOICES: Final = {
    WorldName.LINEAR: _Choice(
        LinearWorld,
        {
            Size.FULL: LinearSetting(),
            Size.SMALL: LinearSetting(
                viewers=9_000,
                ads=8,
                days=10,
                requests=25_000,
                budget_micros=4_500_000,
                late_ads=2,
                late_day=5,
            ),
            Size.TINY: LinearSetting(viewers=3_000, ads=5, days=4, requests=9_000, late_ads=1, late_day=2),
        },
    ),
    WorldName.SEGMENTS: _Choice(
        SegmentsWorld,
        {
            Size.FULL: SegmentsSetting(),
            Size.SMALL: SegmentsSetting(viewers=6_000, days=10, requests=24_000, budget_micros=2_400_000),
            Size.TINY: SegmentsSetting(
                viewers=2_000, days=4, requests=8_000, budget_micros=900_000, farm_day=1
            ),
        },
    ),
    WorldName.THRESHOLDS: _Choice(
        ThresholdsWorld,
        {
            Size.FULL: ThresholdsSetting(),
            Size.SMALL: ThresholdsSetting(viewers=4_500, days=10, requests=25_000, budget_micros=2_500_000),
            Size.TINY: ThresholdsSetting(viewers=2_000, days=8, requests=6_000, budget_micros=700_000),
        },
    ),
    WorldName.INTERESTS: _Choice(
        InterestsWorld,
        {
            Size.FULL: InterestsSetting(),
            Size.SMALL: InterestsSetting(viewers=9_000, days=7, requests=34_000, budget_micros=24_000_000),
            Size.TINY: InterestsSetting(
                viewers=1_500, days=5, requests=6_000, budget_micros=5_000_000, farm_day=2
            ),
        },
    ),
    WorldName.STRANGERS: _Choice(
        StrangersWorld,
        {
            Size.FULL: StrangersSetting(),
            Size.SMALL: StrangersSetting(viewers=90_000, days=10, requests=25_000, budget_micros=7_500_000),
            Size.TINY: StrangersSetting(
                viewers=15_000, days=5, requests=6_000, budget_micros=1_200_000, farm_day=1
            ),
        },
    ),
}
MOST: Final = {"days": 60, "requests": 1_000_000, "viewers": 1_000_000, "ads": 500, "groups": 500}
"""No world is larger than this, so that a slip of the finger does not fill a machine."""


def make_world(name: WorldName, seed: int, size: Size = Size.FULL, **changes: float) -> World:
    """A world with some of its settings changed.

    Raises:
        NoSuchSetting: the world has no such setting, or its value is out of bounds.
    """
    choice = _CHOICES[name]
    usual = choice.sizes[size]
    kinds = {field.name: type(getattr(usual, field.name)) for field in fields(usual)}
    for each, value in changes.items():
        if each not in kinds:
            raise NoSuchSetting(f"{each!r} is none of the settings of {name}: {', '.join(kinds)}")
        least = 1 if each in MOST or (each.endswith("_micros") and each != "bid_micros") else 0
        if not least <= value <= MOST.get(each, 10**12):
            raise NoSuchSetting(f"{each} is a number from {least} to {MOST.get(each, 10**12)}")
    world: World = choice.make(
        replace(usual, **{each: kinds[each](value) for each, value in changes.items()}), seed
    )
    return world


def settings_of(name: WorldName) -> dict[str, float]:
    """The settings of a world with their usual values."""
    usual = _CHOICES[name].sizes[Size.FULL]
    return {field.name: getattr(usual, field.name) for field in fields(usual)}
