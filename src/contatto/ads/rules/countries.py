"""Names of the countries that can be targeted, in groups as the forms show them."""

from typing import Final

from contatto.ads.rules.markets import LEAD_MARKETS_BY_REGION
from contatto.ads.rules.places import LOCATION_IDS
from contatto.kit.i18n import N_

_TABLE: Final = """
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
NAMES: Final = {line[:2]: line[3:] for line in _TABLE.strip().splitlines()}


def country_name(code: str) -> str:
    """The English name of a country; its code where we have no name."""
    return NAMES.get(code, code)


def countries_by_region() -> list[tuple[str, list[str]]]:
    """Countries that can be targeted, by region and name; the last group is not open to the goal Lead."""
    groups = [(region, set(codes)) for region, codes in LEAD_MARKETS_BY_REGION.items()]
    listed = set().union(*(codes for _, codes in groups))
    groups.append((N_("Other regions"), set(LOCATION_IDS) - listed))
    return [(region, sorted(codes, key=country_name)) for region, codes in groups]
