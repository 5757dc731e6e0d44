"""Whom a lookalike takes in: those of the viewers that delivery knows who most likely become good leads.

Theory. What makes a good lead is learned from all ads together, which finds more of them than comparing
people with the few of a source (docs/decisions/0027). A viewer's score is the chance that a view becomes a
lead that is no spam, as the mean over the ad groups that look for the audience.

Those with the best scores owe these to luck too: whom the model overrates is among them, whom it underrates
is not. How far scores differ from viewer to viewer is right once an ad group has had leads of its own, and
too much before: then the truth grows as a power below 1 of the score. Which power it is differs from ad group
to ad group, and that is how unsure a lift is (docs/decisions/0027).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.ads.rules.targeting import known_countries
from contatto.audiences.model import LookalikeSize, LookalikeSpec

SHARES: Final = {LookalikeSize.NARROW: 0.01, LookalikeSize.BALANCED: 0.05, LookalikeSize.BROAD: 0.10}
"""Which part of the viewers who can be reached is taken in."""
LEAST_KNOWN: Final = 100
"""Among fewer viewers nobody stands out."""
_SYSTEMS: Final = {"IOS": ("ios", "iphone", "ipad"), "ANDROID": ("android",)}
_NO_PHONES: Final = ("desktop", "laptop", "computer", "tv")
"""What publishers call devices that run neither."""
_FIRST_POWER: Final = 0.45
_FIRST_DEVIATION: Final = 0.6
_LAST_DEVIATION: Final = 0.35
_HALF_LEARNED: Final = 10.0
"""What made the lift true in the simulator: without a lead, with many, and with how many it is half way."""
_NINE_OF_TEN: Final = 1.281552
"""The quantile of the normal distribution that leaves a tenth above it."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Who was found: ``lift`` is how many times the chance of all ``known`` ones theirs is.

    In eight of ten cases it lies between ``low`` and ``high``. All three are None where nobody was found.
    """

    viewers: tuple[str, ...]
    known: int
    lift: float | None = None
    low: float | None = None
    high: float | None = None


class Wanted:
    """Whom a lookalike may take in, by where and on what they were last.

    Of what a publisher calls a device only the system is understood; one that names none rules nothing out.
    """

    def __init__(self, spec: LookalikeSpec) -> None:
        self._countries = known_countries(spec.location_ids) if spec.location_ids else None
        self._system = spec.mobile_os if spec.mobile_os in _SYSTEMS else ""

    def takes(self, country: str, device: str) -> bool:
        if self._countries is not None and country.upper() not in self._countries:
            return False
        if not self._system:
            return True
        said = device.lower()
        runs = {name for name, words in _SYSTEMS.items() if any(word in said for word in words)}
        return self._system in runs if runs else not any(word in said for word in _NO_PHONES)


def choose_alike(
    scores: Mapping[str, float], size: LookalikeSize, left_out: Collection[str], leads: int = 0
) -> Alike:
    """The viewers with the best scores.

    Args:
        scores: of the viewers, by whom delivery remembers them as; 0 for one who cannot be reached.
        size: how many are taken in.
        left_out: who is not taken in: the people of the source.
        leads: what the ad groups whose scores these are have had.
    """
    able = {viewer: score for viewer, score in scores.items() if score > 0.0 and viewer not in left_out}
    if len(able) < LEAST_KNOWN:
        return Alike((), len(able))
    order = sorted(able, key=lambda viewer: (-able[viewer], viewer))
    chosen = tuple(order[: max(round(SHARES[size] * len(order)), 1)])
    ordered = np.array([able[viewer] for viewer in order])
    low, middle, high = (_lift(ordered, len(chosen), power) for power in powers_after(leads))
    return Alike(chosen, len(able), middle, low, high)


def powers_after(leads: int) -> tuple[float, float, float]:
    """The power of scores after so many leads: in eight of ten cases between the first and the last."""
    known = leads**2 / (leads**2 + _HALF_LEARNED**2)
    middle = _FIRST_POWER + (1.0 - _FIRST_POWER) * known
    deviation = _FIRST_DEVIATION + (_LAST_DEVIATION - _FIRST_DEVIATION) * known
    return max(middle - _NINE_OF_TEN * deviation, 0.0), middle, middle + _NINE_OF_TEN * deviation


def _lift(ordered: NDArray[np.float64], count: int, power: float) -> float:
    """Return how many times the mean of all that of the first ones is."""
    true = (ordered / ordered[0]) ** power
    return float(true[:count].mean() / true.mean())
