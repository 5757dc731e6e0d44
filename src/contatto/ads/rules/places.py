"""Location ids of the API and the countries that they mean.

Source: GeoNames (geonames.org, CC BY 4.0), ids of countries.
"""

from collections.abc import Iterable
from typing import Final

from contatto.ads.rules.cities import CITIES
from contatto.kit import errors
from contatto.kit.errors import Refused

_TABLE: Final = """
SG 1880251 MY 1733045 PH 1694008 TH 1605651 VN 1562822 ID 1643084 KH 1831722 JP 1861060 AU 2077456 NZ 2186224
AR 3865483 BR 3469034 CL 3895114 CO 3686110 PE 3932488 EC 3658394 BO 3923057 GY 3378535 PY 3437598 UY 3439705
VE 3625428 BZ 3582678 CR 3624060 DO 3508796 SV 3585968 GT 3595528 HN 3608932 NI 3617476 PA 3703430 MX 3996063
SA 102358 AE 290557 QA 289688 OM 286963 KW 285570 LB 272103 JO 248816 IQ 99237 IL 294640 EG 357994 LK 1227603
MA 2542007 KE 192950 DZ 2589581 NG 2328926 ZA 953987 PK 1168579
US 6252001 IT 3175395 TR 298795 GB 2635167 BD 1210997 KR 1835841 TW 1668284 PR 4566966
"""
_WORDS: Final = _TABLE.split()

LOCATION_IDS: Final = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))
"""Country code to location id."""
COUNTRIES: Final = {location_id: country for country, location_id in LOCATION_IDS.items()}
"""Location id to country code."""
_HOMES: Final = COUNTRIES | {place.location_id: place.country for place in CITIES}
"""The country of each location id, also of cities."""


def countries_of(location_ids: Iterable[str]) -> tuple[str, ...]:
    """The countries of location ids, of cities too, each once, in order.

    Raises:
        Refused: INVALID, for an id that is not in the table.
    """
    wanted = tuple(location_ids)
    unknown = [location_id for location_id in wanted if location_id not in _HOMES]
    if unknown:
        raise Refused(
            errors.INVALID,
            "location_ids: unknown id %(id)s. See /tool/region/ for valid ids.",
            id=unknown[0],
        )
    return tuple(sorted({_HOMES[location_id] for location_id in wanted}))


def known_countries(location_ids: Iterable[str]) -> frozenset[str]:
    """The countries of those location ids that are in the table."""
    return frozenset(_HOMES[location_id] for location_id in location_ids if location_id in _HOMES)


def location_ids_of(countries: Iterable[str]) -> tuple[str, ...]:
    """The location ids of countries; a country without one is left out."""
    return tuple(LOCATION_IDS[country] for country in countries if country in LOCATION_IDS)
