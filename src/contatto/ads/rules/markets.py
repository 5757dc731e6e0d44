"""The two lists of markets, as data: where the goal Lead is available, and where direct-message ads are sold.

Source of the Lead list: TikTok help, "Lead optimization goal", October 2025: 10 markets in APAC, 20 in LATAM
and 17 in METAP. Its METAP heading names Turkey, but TR is not among them, so it is refused. Source of the
other list: the Business API's text on ``promotion_type``. Neither list holds the other.
"""

from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import Final


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


LEAD_MARKETS_ON: Final = date(2025, 10, 1)
"""The date of the Lead list: its source is of this month."""

LEAD_MARKETS_BY_REGION: Final = {
    "APAC": _codes("SG MY PH TH VN ID KH JP AU NZ"),
    "LATAM": _codes("AR BR CL CO PE EC BO GY PY UY VE BZ CR DO SV GT HN NI PA MX"),
    "METAP": _codes("SA AE QA OM KW LB JO IQ IL EG LK MA KE DZ NG ZA PK"),
}
LEAD_MARKETS: Final = frozenset().union(*LEAD_MARKETS_BY_REGION.values())

DM_ADS_MARKETS: Final = _codes(
    "AU BD KH ID JP MY NZ PK PH SG KR LK TW TH VN AR BO BR CL CO CR DO EC GT MX PA PY PE PR UY"
)

_SPELLINGS: Final = {"EAU": "AE", "UAE": "AE"}


@lru_cache(1_000)
def normal_country(text: str) -> str:
    """A country code in capitals; EAU and UAE are spellings of AE."""
    code = text.strip().upper()
    return _SPELLINGS.get(code, code)


def normal_countries(texts: Iterable[str]) -> tuple[str, ...]:
    """Country codes, each once, in order."""
    return tuple(sorted({normal_country(text) for text in texts}))
