"""Targeting of ad groups, and the markets of goals and ads.

Source of the Lead list: TikTok help, "Lead optimization goal", October 2025: 10 markets in APAC, 20 in LATAM
and 17 in METAP. Its METAP heading names Turkey, but TR is not among them, so it is refused. Source of the
other list: the Business API's text on ``promotion_type``. Neither list holds the other.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from contatto.ads.model import AgeGroup, Targeting
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_


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
    """Return a country code in capitals; EAU and UAE are spellings of AE."""
    code = text.strip().upper()
    return _SPELLINGS.get(code, code)


def normal_countries(texts: Iterable[str]) -> tuple[str, ...]:
    """Country codes, each once, in order."""
    return tuple(sorted({normal_country(text) for text in texts}))


@dataclass(frozen=True, slots=True)
class Region:
    """A place below a country, by its GeoNames id."""

    location_id: str
    country: str
    name: str


_CITY_TABLE: Final = """
1880252 SG Singapore
1735161 MY Kuala Lumpur
1701668 PH Manila
1609350 TH Bangkok
1581130 VN Hanoi
1566083 VN Ho Chi Minh City
1642911 ID Jakarta
1821306 KH Phnom Penh
1850147 JP Tokyo
2147714 AU Sydney
2158177 AU Melbourne
2193733 NZ Auckland
3435910 AR Buenos Aires
3448439 BR São Paulo
3451190 BR Rio de Janeiro
3871336 CL Santiago
3688689 CO Bogotá
3936456 PE Lima
3652462 EC Quito
3911925 BO La Paz
3439389 PY Asunción
3441575 UY Montevideo
3646738 VE Caracas
3621849 CR San José
3492908 DO Santo Domingo
3583361 SV San Salvador
3598132 GT Guatemala City
3600949 HN Tegucigalpa
3617763 NI Managua
3703443 PA Panama City
3530597 MX Mexico City
108410 SA Riyadh
292223 AE Dubai
292968 AE Abu Dhabi
290030 QA Doha
287286 OM Muscat
285787 KW Kuwait City
276781 LB Beirut
250441 JO Amman
98182 IQ Baghdad
293397 IL Tel Aviv
360630 EG Cairo
1248991 LK Colombo
2553604 MA Casablanca
184745 KE Nairobi
2507480 DZ Algiers
2332459 NG Lagos
2352778 NG Abuja
993800 ZA Johannesburg
3369157 ZA Cape Town
1174872 PK Karachi
1172451 PK Lahore
1176615 PK Islamabad
5128581 US New York
5368361 US Los Angeles
5332921 US California
3169070 IT Rome
3173435 IT Milan
745044 TR Istanbul
323786 TR Ankara
2643743 GB London
1185241 BD Dhaka
1835848 KR Seoul
1668341 TW Taipei
4568127 PR San Juan
"""

CITIES: Final = tuple(Region(*line.split(" ", 2)) for line in _CITY_TABLE.strip().splitlines())


_PLACE_TABLE: Final = """
SG 1880251 MY 1733045 PH 1694008 TH 1605651 VN 1562822 ID 1643084 KH 1831722 JP 1861060 AU 2077456 NZ 2186224
AR 3865483 BR 3469034 CL 3895114 CO 3686110 PE 3932488 EC 3658394 BO 3923057 GY 3378535 PY 3437598 UY 3439705
VE 3625428 BZ 3582678 CR 3624060 DO 3508796 SV 3585968 GT 3595528 HN 3608932 NI 3617476 PA 3703430 MX 3996063
SA 102358 AE 290557 QA 289688 OM 286963 KW 285570 LB 272103 JO 248816 IQ 99237 IL 294640 EG 357994 LK 1227603
MA 2542007 KE 192950 DZ 2589581 NG 2328926 ZA 953987 PK 1168579
US 6252001 IT 3175395 TR 298795 GB 2635167 BD 1210997 KR 1835841 TW 1668284 PR 4566966
"""
_WORDS: Final = _PLACE_TABLE.split()

LOCATION_IDS: Final = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))
"""Country code to location id."""
COUNTRIES: Final = {location_id: country for country, location_id in LOCATION_IDS.items()}
"""Location id to country code."""
_HOMES: Final = COUNTRIES | {place.location_id: place.country for place in CITIES}
"""The country of each location id, also of cities."""


def countries_of(location_ids: Iterable[str]) -> tuple[str, ...]:
    """Return the countries of location ids, of cities too, each once, in order.

    Raises:
        Refused: INVALID, for an id that is not in the table.
    """
    ids = tuple(location_ids)
    unknown = [location_id for location_id in ids if location_id not in _HOMES]
    if unknown:
        raise Refused(
            errors.INVALID,
            "location_ids: unknown id %(id)s. See /tool/region/ for valid ids.",
            id=unknown[0],
        )
    return tuple(sorted({_HOMES[location_id] for location_id in ids}))


def known_countries(location_ids: Iterable[str]) -> frozenset[str]:
    """Return the countries of those location ids that are in the table."""
    return frozenset(_HOMES[location_id] for location_id in location_ids if location_id in _HOMES)


def location_ids_of(countries: Iterable[str]) -> tuple[str, ...]:
    """Return the location ids of countries; a country without one is left out."""
    return tuple(LOCATION_IDS[country] for country in countries if country in LOCATION_IDS)


_COUNTRY_TABLE: Final = """
SG Singapore
MY Malaysia
PH Philippines
TH Thailand
VN Vietnam
ID Indonesia
KH Cambodia
JP Japan
AU Australia
NZ New Zealand
AR Argentina
BR Brazil
CL Chile
CO Colombia
PE Peru
EC Ecuador
BO Bolivia
GY Guyana
PY Paraguay
UY Uruguay
VE Venezuela
BZ Belize
CR Costa Rica
DO Dominican Republic
SV El Salvador
GT Guatemala
HN Honduras
NI Nicaragua
PA Panama
MX Mexico
SA Saudi Arabia
AE United Arab Emirates
QA Qatar
OM Oman
KW Kuwait
LB Lebanon
JO Jordan
IQ Iraq
IL Israel
EG Egypt
LK Sri Lanka
MA Morocco
KE Kenya
DZ Algeria
NG Nigeria
ZA South Africa
PK Pakistan
US United States
IT Italy
TR Türkiye
GB United Kingdom
BD Bangladesh
KR South Korea
TW Taiwan
PR Puerto Rico
"""
NAMES: Final = {line[:2]: line[3:] for line in _COUNTRY_TABLE.strip().splitlines()}


def country_name(code: str) -> str:
    """Return the English name of a country; its code where we have no name."""
    return NAMES.get(code, code)


def countries_by_region() -> list[tuple[str, list[str]]]:
    """Countries that can be targeted, by region and name; the last group is not open to the goal Lead."""
    groups = [(region, set(codes)) for region, codes in LEAD_MARKETS_BY_REGION.items()]
    listed = set().union(*(codes for _, codes in groups))
    groups.append((N_("Other regions"), set(LOCATION_IDS) - listed))
    return [(region, sorted(codes, key=country_name)) for region, codes in groups]


LANGUAGES: Final = {
    "ar": "العربية",
    "en": "English",
    "es": "Español",
    "fil": "Filipino",
    "he": "עברית",
    "hi": "हिन्दी",
    "id": "Bahasa Indonesia",
    "it": "Italiano",
    "ja": "日本語",
    "km": "ខ្មែរ",
    "ko": "한국어",
    "ms": "Bahasa Melayu",
    "pt": "Português",
    "si": "සිංහල",
    "sw": "Kiswahili",
    "ta": "தமிழ்",
    "th": "ไทย",
    "ur": "اردو",
    "vi": "Tiếng Việt",
    "zh": "中文",
}
"""Languages by their ISO 639 code, each under its own name: it needs no translation."""

AGES: Final = {
    AgeGroup.FROM_13: "13–17",
    AgeGroup.FROM_18: "18–24",
    AgeGroup.FROM_25: "25–34",
    AgeGroup.FROM_35: "35–44",
    AgeGroup.FROM_45: "45–54",
    AgeGroup.FROM_55: "55+",
}
_LEAST_AGES: Final = ((55, AgeGroup.FROM_55), (45, AgeGroup.FROM_45), (35, AgeGroup.FROM_35),
                      (25, AgeGroup.FROM_25), (18, AgeGroup.FROM_18), (13, AgeGroup.FROM_13))  # fmt: skip

INTERESTS: Final = {
    "10": N_("Education"),
    "11": N_("Vehicles and transport"),
    "12": N_("Baby, kids and maternity"),
    "13": N_("Financial services"),
    "14": N_("Beauty and personal care"),
    "15": N_("Technology and electronics"),
    "16": N_("Appliances"),
    "17": N_("Travel"),
    "18": N_("Household products"),
    "19": N_("Pets"),
    "20": N_("Apps"),
    "21": N_("Home improvement"),
    "22": N_("Clothing and accessories"),
    "23": N_("News and entertainment"),
    "24": N_("Business services"),
    "25": N_("Games"),
    "26": N_("Life services"),
    "27": N_("Food and beverage"),
    "28": N_("Sports and outdoors"),
    "29": N_("Property"),
}
"""Our own list of interests by id; publishers name them in their ad requests."""

MOST_AUDIENCES: Final = 50


def age_group_of(age: int) -> AgeGroup | None:
    """Return the age group of a person; None for a child under 13, who gets no ad with an age group."""
    return next((group for least, group in _LEAST_AGES if age >= least), None)


def check_targeting(chosen: Targeting, audiences: Collection[str]) -> Targeting:
    """Return the choices, each once and in order.

    Args:
        chosen: the chosen targeting.
        audiences: the numbers of the ad account's own audiences.

    Raises:
        Refused: INVALID, for an unknown value, and for an audience that is both included and excluded.
    """
    both = sorted(set(chosen.audience_ids) & set(chosen.excluded_audience_ids))
    if both:
        raise Refused(
            errors.INVALID,
            "excluded_audience_ids: audience %(audience)s is included as well.",
            audience=both[0],
        )
    for name in ("audience_ids", "excluded_audience_ids"):
        if len(getattr(chosen, name)) > MOST_AUDIENCES:
            raise Refused(
                errors.INVALID, "%(field)s: choose at most %(most)s.", field=name, most=MOST_AUDIENCES
            )
    return Targeting(
        languages=_checked("languages", chosen.languages, LANGUAGES),
        age_groups=_checked("age_groups", chosen.age_groups, [group.value for group in AgeGroup]),
        interest_category_ids=_checked("interest_category_ids", chosen.interest_category_ids, INTERESTS),
        audience_ids=_checked("audience_ids", chosen.audience_ids, audiences),
        excluded_audience_ids=_checked("excluded_audience_ids", chosen.excluded_audience_ids, audiences),
    )


def _checked(field: str, chosen: Iterable[str], allowed: Collection[str]) -> tuple[str, ...]:
    ordered = sorted(set(chosen))
    unknown = [value for value in ordered if value not in allowed]
    if unknown:
        raise Refused(
            errors.INVALID,
            "%(field)s: %(value)s is not available.",
            field=field,
            value=unknown[0],
        )
    return tuple(ordered)
