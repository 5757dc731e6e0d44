"""What a model goes by, in words."""

import re
from dataclasses import dataclass
from math import log
from typing import Final

from contatto.delivery.model.influences import Influence, Source, ValueOdds
from contatto.delivery.rules.asking import OURS
from contatto.kit.i18n import N_

STRONG: Final = 1.5
CLEAR: Final = 1.15
_MOST: Final = 3.0
"""A bar is full where something multiplies the odds by so much."""
_SOURCES: Final = {
    Source.AD: N_("Ad"),
    Source.HISTORY: N_("Past actions of the viewer"),
    Source.KIND: N_("Viewer type"),
    Source.HOUR: N_("Hour"),
    Source.WEEKDAY: N_("Day of the week"),
    Source.SHOWN: N_("Frequency and recency of impressions"),
    Source.TAPPED: N_("Earlier click on the ad"),
    Source.KNOWN: N_("Earlier chat or lead"),
    Source.EARLIER: N_("Predictions of the earlier steps"),
}
FIELDS: Final = {
    "country": N_("Country"),
    f"{OURS}placement": N_("Placement"),
    f"{OURS}account": N_("Channel account"),
    f"{OURS}device": N_("Device"),
    f"{OURS}language": N_("Language"),
    f"{OURS}age": N_("Age"),
    f"{OURS}interests": N_("Interests"),
}
"""What the engine itself makes of a request, by its name in the model."""
_AD_FIELDS: Final = {
    "format": N_("Image or video"),
    "call": N_("Ad button"),
    "account": N_("Channel account of the ad"),
    "form": N_("Form in the ad"),
    "welcome": N_("Welcome message"),
    "headline": N_("Headline"),
    "words": N_("Ad text"),
}
_AGES: Final = re.compile(r"AGE_(\d+)_(\d+)")
_IDS: Final = frozenset({f"{OURS}placement", f"{OURS}account", f"{OURS}interests"})
"""Fields whose values are ids, which tell people nothing."""


@dataclass(frozen=True, slots=True)
class InfluenceRow:
    """One thing that estimates go by: ``name`` is a text to translate, or "" where ``own`` names a field.

    ``times`` is by what it typically multiplies or divides the odds; ``most`` and ``least`` are values.
    """

    name: str
    own: str
    times: float
    most: ValueOdds | None = None
    least: ValueOdds | None = None

    @property
    def is_seen(self) -> bool:
        """Return whether it moves the odds so much that rounding shows it."""
        return self.times >= 1.005

    @property
    def strength(self) -> str:
        return "strong" if self.times >= STRONG else "clear" if self.times >= CLEAR else "slight"

    @property
    def width(self) -> float:
        """Of its bar, 0 to 100."""
        return round(100.0 * min(log(max(self.times, 1.0)) / log(_MOST), 1.0), 1)


def row_of_influence(found: Influence) -> InfluenceRow:
    """An influence as people read it."""
    if found.source in _SOURCES:
        return InfluenceRow(_SOURCES[found.source], "", found.times)
    if found.source is Source.AD_FIELD:
        name = _AD_FIELDS.get(found.name, "")
        return InfluenceRow(name, "" if name else found.name, found.times)
    name, own = _name_of(found.name)
    tells = found.name not in _IDS
    most, least = (_said(each) if tells else None for each in (found.most, found.least))
    return InfluenceRow(name, own, found.times, most, least)


def _name_of(field: str) -> tuple[str, str]:
    known = FIELDS.get(field, "")
    return known, "" if known else field


def _said(said: ValueOdds | None) -> ValueOdds | None:
    """A value as people read it: age groups as ages."""
    ages = None if said is None else _AGES.fullmatch(said.value)
    if said is None or ages is None:
        return said
    first, last = ages.groups()
    return ValueOdds(f"{first}+" if last == "100" else f"{first}–{last}", said.times)
