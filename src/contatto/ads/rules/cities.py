"""Cities and regions that scripts target, with the country that each lies in.

Source: GeoNames (geonames.org, CC BY 4.0).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """A place below a country, by its GeoNames id."""

    location_id: str
    country: str
    name: str


_TABLE: Final = """
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

CITIES: Final = tuple(Place(*line.split(" ", 2)) for line in _TABLE.strip().splitlines())
