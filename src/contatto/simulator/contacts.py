"""Contact details that look right: mobile numbers by market, mail at example domains."""

import random
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Market:
    """How mobile numbers look in a country: code, trunk prefix, first digits, lengths of the groups."""

    code: str
    trunk: str
    first: tuple[str, ...]
    groups: tuple[int, ...]


MARKETS: Final = {
    "SG": Market("65", "", ("81", "82", "83", "91", "92", "93", "96", "97"), (4, 4)),
    "MY": Market("60", "0", ("122", "133", "163", "174", "192"), (2, 3, 4)),
    "ID": Market("62", "0", ("812", "813", "821", "852"), (3, 4, 4)),
    "TH": Market("66", "0", ("81", "86", "89", "95"), (2, 3, 4)),
    "VN": Market("84", "0", ("90", "91", "93", "97"), (2, 3, 4)),
    "PH": Market("63", "0", ("917", "918", "927", "928"), (3, 3, 4)),
}
"""Source: national numbering plans, mobile ranges in wide use."""

_DOMAINS: Final = ("example.com", "example.net", "example.org", "mail.example.com")


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact detail as it is known (``value``: E.164 or an address) and as it is typed (``shown``)."""

    value: str
    shown: str


def phone(rng: random.Random, country: str, account_country: str) -> Contact:
    """A mobile number of a country.

    People write it as at home when the business is at home there too, else with the country code.
    """
    market = MARKETS[country]
    start = rng.choice(market.first)
    digits = start + "".join(str(rng.randint(0, 9)) for _ in range(sum(market.groups) - len(start)))
    parts: list[str] = []
    done = 0
    for size in market.groups:
        parts.append(digits[done : done + size])
        done += size
    gap = rng.choice((" ", "-", " ", ""))
    written = gap.join(parts)
    at_home = country == account_country and rng.random() < 0.7
    shown = f"{market.trunk}{written}" if at_home else f"+{market.code} {written}"
    return Contact(f"+{market.code}{digits}", shown)


def email(rng: random.Random, owner: str) -> Contact:
    """An address at an example domain, made of the owner's handle."""
    address = f"{owner.replace('_', rng.choice(('.', '_', '')))}@{rng.choice(_DOMAINS)}"
    return Contact(address, address)
