"""Whom a lookalike takes in: those of the viewers that delivery knows who most likely become good leads.

Theory. What makes a good lead is learned from all ads together, which finds more of them than comparing
people with the few of a source (docs/decisions/0085). A viewer's score is the chance that a view becomes a
lead that is no spam, as the mean over the ad groups that look for the audience.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from contatto.ads.rules.places import known_countries
from contatto.audiences.model import LookalikeSize, LookalikeSpec

SHARES: Final = {LookalikeSize.NARROW: 0.01, LookalikeSize.BALANCED: 0.05, LookalikeSize.BROAD: 0.10}
"""Which part of the viewers who can be reached is taken in."""
LEAST_KNOWN: Final = 100
"""Among fewer viewers nobody stands out."""
_SYSTEMS: Final = {"IOS": ("ios", "iphone", "ipad"), "ANDROID": ("android",)}
_NO_PHONES: Final = ("desktop", "laptop", "computer", "tv")
"""What publishers call devices that run neither."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Who was found: ``lift`` is how many times the chance of all ``known`` ones theirs is."""

    viewers: tuple[str, ...]
    known: int
    lift: float | None


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


def choose_alike(scores: Mapping[str, float], size: LookalikeSize, left_out: Collection[str]) -> Alike:
    """The viewers with the best scores.

    Args:
        scores: of the viewers, by whom delivery remembers them as; 0 for one who cannot be reached.
        size: how many are taken in.
        left_out: who is not taken in: the people of the source.
    """
    able = {viewer: score for viewer, score in scores.items() if score > 0.0 and viewer not in left_out}
    if len(able) < LEAST_KNOWN:
        return Alike((), len(able), None)
    order = sorted(able, key=lambda viewer: (-able[viewer], viewer))
    chosen = tuple(order[: max(round(SHARES[size] * len(order)), 1)])
    mean = sum(able.values()) / len(able)
    lift = sum(able[viewer] for viewer in chosen) / len(chosen) / mean
    return Alike(chosen, len(able), lift)
