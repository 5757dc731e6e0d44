"""People of the demo world: traits, intents, contacts and planned visits."""

import math
import random
import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from contatto.channels.model import Platform


class Intent(StrEnum):
    """Reason of a person to look at an ad; no publisher sees it."""

    PLAN = "plan"
    """They are about to buy a kitchen."""
    LOOK = "look"
    """They like to look at kitchens, and to talk about them."""


@dataclass(frozen=True, slots=True)
class Traits:
    """A publisher's knowledge of a person who gave consent."""

    age: int
    device: str
    follows: tuple[str, ...]

    @property
    def is_keen(self) -> bool:
        return "renovation" in self.follows or "new home" in self.follows


@dataclass(frozen=True, slots=True)
class Appeal:
    """Effect of an ad: factors of how likely people tap, and how likely they share."""

    taps: dict[Intent, float]
    shares: float


OFFER: Final = Appeal({Intent.PLAN: 1.3, Intent.LOOK: 0.7}, 1.15)
"""It promises a price, a visit, an answer in a day."""
STORY: Final = Appeal({Intent.PLAN: 0.8, Intent.LOOK: 1.3}, 0.9)
"""It shows how a kitchen became another."""
P_SHARE: Final = {Intent.PLAN: 0.66, Intent.LOOK: 0.18}
"""Share of chats with a contact detail, whatever the ad."""
P_CONSENT: Final = 0.9
_USUAL_FLOOR: Final = 40_000_000
_DEARER: Final = 1.25
_FLOOR_SPREAD: Final = 0.5
_TOPICS: Final = ("renovation", "new home", "cooking", "football", "travel")
_DEVICES: Final = (("phone", 78), ("tablet", 8), ("desktop", 14))


def draw_traits(rng: random.Random) -> Traits:
    device = rng.choices([name for name, _ in _DEVICES], [share for _, share in _DEVICES])[0]
    return Traits(rng.randint(19, 68), device, (rng.choice(_TOPICS),))


def draw_intent(rng: random.Random, traits: Traits) -> Intent:
    """Draw an intent: followers of renovation plan a kitchen more often, and more so past thirty."""
    chance = 0.08
    if traits.is_keen:
        chance = 0.8 if traits.age >= 30 else 0.45
    return Intent.PLAN if rng.random() < chance else Intent.LOOK


def draw_floor(rng: random.Random, traits: Traits) -> int:
    """Draw what other bidders pay for a thousand views, in micros: more where a new kitchen is likely."""
    usual = _USUAL_FLOOR * (_DEARER if traits.is_keen else 1.0)
    return round(usual * math.exp(rng.gauss(0.0, _FLOOR_SPREAD)))


@dataclass(frozen=True, slots=True)
class PhoneMarket:
    """Form of mobile numbers: country code, trunk prefix, first digits, lengths of the groups."""

    code: str
    trunk: str
    first: tuple[str, ...]
    groups: tuple[int, ...]


MARKETS: Final = {
    "SG": PhoneMarket("65", "", ("81", "82", "83", "91", "92", "93", "96", "97"), (4, 4)),
    "MY": PhoneMarket("60", "0", ("122", "133", "163", "174", "192"), (2, 3, 4)),
    "ID": PhoneMarket("62", "0", ("812", "813", "821", "852"), (3, 4, 4)),
    "TH": PhoneMarket("66", "0", ("81", "86", "89", "95"), (2, 3, 4)),
    "VN": PhoneMarket("84", "0", ("90", "91", "93", "97"), (2, 3, 4)),
    "PH": PhoneMarket("63", "0", ("917", "918", "927", "928"), (3, 3, 4)),
}
"""Source: national numbering plans, mobile ranges in wide use."""

_DOMAINS: Final = ("example.com", "example.net", "example.org", "mail.example.com")


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact detail: ``value`` is E.164 or an address, ``shown`` is how it is typed."""

    value: str
    shown: str


def phone(rng: random.Random, country: str, account_country: str) -> Contact:
    """Draw a mobile number of a country.

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
    """Draw an address at an example domain, made of the owner's handle."""
    address = f"{owner.replace('_', rng.choice(('.', '_', '')))}@{rng.choice(_DOMAINS)}"
    return Contact(address, address)


@cache
def phrases_of(language: str) -> dict[str, list[str]]:
    """Return the lines of a language by kind, such as ``openers`` or ``phones``."""
    text = (files("contatto.simulator") / "lines" / f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def say(rng: random.Random, language: str, kind: str, contact: str = "") -> str:
    """Draw a line of a kind, and put in a contact detail or unused digits."""
    line = rng.choice(phrases_of(language)[kind])
    while "{n}" in line:
        line = line.replace("{n}", str(rng.randint(12, 4_800)), 1)
    return line.replace("{contact}", contact)


def handle(rng: random.Random) -> str:
    """Draw a handle such as ``sunny_kettle41``."""
    words = phrases_of("words")
    return f"{rng.choice(words['first'])}_{rng.choice(words['second'])}{rng.randint(1, 99)}"


HOME: Final = {Platform.WEBCHAT: "SG", Platform.TIKTOK: "MY"}
"""The registration country of the business's account on each platform."""

_COUNTRIES: Final = {
    Platform.WEBCHAT: (("SG", 62), ("MY", 14), ("ID", 9), ("PH", 7), ("TH", 4), ("VN", 4)),
    Platform.TIKTOK: (("MY", 52), ("SG", 14), ("ID", 14), ("TH", 8), ("VN", 6), ("PH", 6)),
}
_LANGUAGES: Final = {
    "SG": ("en", "en", "en", "zh", "ms"),
    "MY": ("ms", "ms", "en", "zh"),
    "ID": ("id",),
    "TH": ("th",),
    "VN": ("vi",),
    "PH": ("tl", "en"),
}
_BUSY_HOURS: Final = (5, 4, 3, 3, 3, 3, 4, 5, 6, 6, 6, 6, 8, 7, 6, 6, 6, 7, 8, 9, 10, 10, 8, 6)
"""Weights of the hours of a day by how many people look at their phones."""
_DAY_S: Final = 86_400
_MOST_VIEWS: Final = 6
_P_TAP: Final = 0.2
_P_CHAT: Final = 0.84
_P_SPAM: Final = 0.04
_MOST_APPEAL: Final = max(*OFFER.taps.values(), *STORY.taps.values())


@dataclass(frozen=True, slots=True)
class ChatLine:
    """A message: seconds after the one before it, its text, and the contact detail that it shares.

    A ``sharing`` line belongs to the part from the question for contact details to the thanks.
    """

    after_s: float
    text: str
    from_business: bool = False
    contact: str = ""
    sharing: bool = False


@dataclass(frozen=True, slots=True)
class AdMoment:
    """A moment at which an ad may be shown.

    Attributes:
        at_s: seconds from the beginning.
        floor_micros: price of a thousand views that the other bidders for this place would pay.
        laziness: from 0 to 1; the lazier, the likelier the person taps no ad this time.
    """

    at_s: float
    floor_micros: int
    laziness: float


@dataclass(frozen=True, slots=True)
class PlannedVisitor:
    """A person and the plan of a visit.

    A publisher knows the ``traits`` of people with ``consent``, and never the ``intent``. ``reserve`` is
    their reluctance to share a contact detail, from 0 to 1. With ``twice`` or ``disorderly`` the platform
    delivers their messages badly.
    """

    viewer_id: str
    handle: str
    language: str
    country: str
    platform: Platform
    looks: tuple[AdMoment, ...]
    traits: Traits
    intent: Intent
    consent: bool
    tap_after_s: float
    lines: tuple[ChatLine, ...]
    reserve: float
    twice: bool
    disorderly: bool

    def moved(self, by_s: float) -> "PlannedVisitor":
        """Return the same plan, some seconds later."""
        return replace(self, looks=tuple(replace(look, at_s=look.at_s + by_s) for look in self.looks))

    def from_moment(self, at_s: float) -> "PlannedVisitor":
        """Return the same plan without the looks before a moment."""
        return replace(self, looks=tuple(look for look in self.looks if look.at_s >= at_s))

    def taps(self, look: AdMoment, appeal: Appeal) -> bool:
        """Report whether this person taps an ad of this appeal."""
        return look.laziness < _P_TAP * appeal.taps[self.intent]

    def lines_after(self, appeal: Appeal) -> tuple[ChatLine, ...]:
        """Return what this person writes and is answered after such an ad."""
        shares = self.reserve < P_SHARE[self.intent] * appeal.shares
        return tuple(line for line in self.lines if shares or not line.sharing)


def plan_people(seed: int, count: int, span_s: float) -> list[PlannedVisitor]:
    """Plan everybody who is offered an ad within a span, by the first moment.

    Args:
        seed: the same seed gives the same people.
        count: number of people.
        span_s: seconds from the beginning, a midnight in Singapore, to the end.
    """
    rng = random.Random(seed)
    people = [_plan_visitor(rng, span_s) for _ in range(count)]
    return sorted(people, key=lambda visitor: visitor.looks[0].at_s)


def _plan_moments(rng: random.Random, span_s: float) -> list[float]:
    """Draw the moments at which somebody looks at a phone, more of them in the evening."""
    moments: list[float] = []
    busiest, count = max(_BUSY_HOURS), rng.randint(1, _MOST_VIEWS)
    while len(moments) < count:
        moment = rng.uniform(0, span_s)
        hour = int(moment % _DAY_S // 3600)
        if rng.random() * busiest < _BUSY_HOURS[hour]:
            moments.append(moment)
    return sorted(moments)


def _plan_visitor(rng: random.Random, span_s: float) -> PlannedVisitor:
    """Plan one person with all that they will do."""
    platform = Platform.WEBCHAT if rng.random() < 0.55 else Platform.TIKTOK
    names, weights = zip(*_COUNTRIES[platform], strict=True)
    country = rng.choices(names, weights)[0]
    name = handle(rng)
    traits = draw_traits(rng)
    intent = draw_intent(rng, traits)
    looks = tuple(
        AdMoment(moment, draw_floor(rng, traits), rng.random()) for moment in _plan_moments(rng, span_s)
    )
    may_tap = any(look.laziness < _P_TAP * _MOST_APPEAL for look in looks)
    language = rng.choice(_LANGUAGES[country])
    who = _Speaker(rng, language, country, platform, name)
    return PlannedVisitor(
        viewer_id=f"{'_000' if platform is Platform.TIKTOK else 'v-'}{rng.getrandbits(96):024x}",
        handle=name,
        language=language,
        country=country,
        platform=platform,
        looks=looks,
        traits=traits,
        intent=intent,
        consent=rng.random() < P_CONSENT,
        tap_after_s=rng.uniform(2, 25),
        lines=tuple(_lines(who)) if may_tap else (),
        reserve=rng.random(),
        twice=rng.random() < 0.2,
        disorderly=rng.random() < 0.15,
    )


@dataclass(frozen=True, slots=True)
class _Speaker:
    rng: random.Random
    language: str
    country: str
    platform: Platform
    handle: str

    def say(self, kind: str, *, from_business: bool = False, contact: Contact | None = None) -> ChatLine:
        pause = self.rng.uniform(40, 400) if from_business else self.rng.uniform(8, 150)
        text = say(self.rng, self.language, kind, contact.shown if contact else "")
        return ChatLine(pause, text, from_business, contact.value if contact else "")


def _lines(who: _Speaker) -> list[ChatLine]:
    rng = who.rng
    if rng.random() >= _P_CHAT:
        return []
    if rng.random() < _P_SPAM:
        return [who.say("spam")]
    lines = [who.say("openers")]
    if rng.random() < 0.6:
        lines.append(who.say("answers", from_business=True))
    lines += [who.say(rng.choice(("questions", "questions", "talk"))) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.15:
        lines.append(who.say("numbers"))
    return lines + [replace(line, sharing=True) for line in _sharing(who)]


def _sharing(who: _Speaker) -> list[ChatLine]:
    """Plan the lines from the question for a contact to the thanks; some share two contacts."""
    rng = who.rng
    lines = [who.say("asks", from_business=True)] if rng.random() < 0.7 else []
    number = phone(rng, who.country, HOME[who.platform])
    address = email(rng, who.handle)
    first, second = (number, address) if rng.random() < 0.75 else (address, number)
    lines.append(who.say(_kind(first), contact=first))
    if rng.random() < 0.2:
        lines.append(who.say(_kind(second), contact=second))
    elif rng.random() < 0.1:
        lines.append(who.say(_kind(first), contact=first))
    if rng.random() < 0.95:
        lines.append(who.say("thanks", from_business=True))
    return lines


def _kind(contact: Contact) -> str:
    return "emails" if "@" in contact.value else "phones"
