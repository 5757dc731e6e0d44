"""What the page of all ads is asked: days, rows, whose ads; read from an address and written into one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.timestamps import check_year, day_of
from contatto.reports.model import Level
from contatto.reports.rules.looks import MOST_DAYS

USUAL_DAYS: Final = 30


class Source(StrEnum):
    """Who shows an ad."""

    OURS = "ours"
    TIKTOK = "tiktok"
    META = "meta"


@dataclass(frozen=True, slots=True)
class SourceLook:
    """A question of the page; without a source it is about all of them."""

    first: date
    last: date
    level: Level = Level.CAMPAIGN
    source: Source | None = None

    def href(self, path: str = "/reports/sources") -> str:
        pairs = [("since", str(self.first)), ("until", str(self.last)), ("by", self.level.value)]
        return f"{path}?{urlencode([*pairs, ('source', self.source.value if self.source else '')])}"


LEVELS: Final = (Level.AD_ACCOUNT, Level.CAMPAIGN, Level.AD_GROUP, Level.AD)


def read_source_look(words: Mapping[str, str], today: date) -> SourceLook:
    """Read an address; words that mean nothing here are left out.

    Raises:
        Refused: INVALID, for days that are none, or too many.
    """
    for field in ("since", "until"):
        check_year(field, words.get(field, ""))
    last = day_of(words.get("until", "")) or today
    first = day_of(words.get("since", "")) or last - timedelta(days=USUAL_DAYS - 1)
    if not 0 <= (last - first).days < MOST_DAYS:
        raise Refused(
            errors.INVALID,
            "until: Choose a period of 1 to %(most)s days. The last day must not be before the first.",
            most=MOST_DAYS,
        )
    level = next((each for each in LEVELS if each == words.get("by")), Level.CAMPAIGN)
    return SourceLook(first, last, level, next((one for one in Source if one == words.get("source")), None))
