"""Who the people are and what each of them will do, drawn from a seed: the same seed, the same people."""

import random
from dataclasses import dataclass, replace
from typing import Final

from contatto.channels.model import Platform
from contatto.simulator.contacts import Contact, email, phone
from contatto.simulator.phrases import handle, say
from contatto.simulator.wishes import (
    OFFER,
    P_CONSENT,
    P_SHARE,
    STORY,
    Appeal,
    Traits,
    Wish,
    draw_floor,
    draw_traits,
    draw_wish,
)

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
class Line:
    """A message: seconds after the one before it, its text, and what contact detail it shares, if any.

    A ``sharing`` line belongs to the part in which contact details are asked for and given.
    """

    after_s: float
    text: str
    from_business: bool = False
    contact: str = ""
    sharing: bool = False


@dataclass(frozen=True, slots=True)
class Look:
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
class Visitor:
    """A person and the plan of a visit.

    A publisher knows the ``traits`` of people with ``consent``, and the ``wish`` of nobody. ``reserve`` is
    their reluctance to share a contact detail, from 0 to 1. With ``twice`` or ``disorderly`` the platform
    delivers their messages badly.
    """

    viewer_id: str
    handle: str
    language: str
    country: str
    platform: Platform
    looks: tuple[Look, ...]
    traits: Traits
    wish: Wish
    consent: bool
    tap_after_s: float
    lines: tuple[Line, ...]
    reserve: float
    twice: bool
    disorderly: bool

    def moved(self, by_s: float) -> "Visitor":
        """Return the same plan, some seconds later."""
        return replace(self, looks=tuple(replace(look, at_s=look.at_s + by_s) for look in self.looks))

    def from_moment(self, at_s: float) -> "Visitor":
        """Return the same plan without the looks before a moment."""
        return replace(self, looks=tuple(look for look in self.looks if look.at_s >= at_s))

    def taps(self, look: Look, appeal: Appeal) -> bool:
        """Report whether this person taps an ad of this appeal."""
        return look.laziness < _P_TAP * appeal.taps[self.wish]

    def lines_after(self, appeal: Appeal) -> tuple[Line, ...]:
        """Return what this person writes and is answered after such an ad."""
        shares = self.reserve < P_SHARE[self.wish] * appeal.shares
        return tuple(line for line in self.lines if shares or not line.sharing)


def plan_people(seed: int, count: int, span_s: float) -> list[Visitor]:
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


def _plan_visitor(rng: random.Random, span_s: float) -> Visitor:
    """Plan one person with all that they will do."""
    platform = Platform.WEBCHAT if rng.random() < 0.55 else Platform.TIKTOK
    names, weights = zip(*_COUNTRIES[platform], strict=True)
    country = rng.choices(names, weights)[0]
    name = handle(rng)
    traits = draw_traits(rng)
    wish = draw_wish(rng, traits)
    looks = tuple(
        Look(moment, draw_floor(rng, traits), rng.random()) for moment in _plan_moments(rng, span_s)
    )
    may_tap = any(look.laziness < _P_TAP * _MOST_APPEAL for look in looks)
    language = rng.choice(_LANGUAGES[country])
    who = _Speaker(rng, language, country, platform, name)
    return Visitor(
        viewer_id=_viewer_id(rng, platform),
        handle=name,
        language=language,
        country=country,
        platform=platform,
        looks=looks,
        traits=traits,
        wish=wish,
        consent=rng.random() < P_CONSENT,
        tap_after_s=rng.uniform(2, 25),
        lines=tuple(_lines(who)) if may_tap else (),
        reserve=rng.random(),
        twice=rng.random() < 0.2,
        disorderly=rng.random() < 0.15,
    )


def _viewer_id(rng: random.Random, platform: Platform) -> str:
    number = rng.getrandbits(96)
    return f"_000{number:024x}" if platform is Platform.TIKTOK else f"v-{number:024x}"


@dataclass(frozen=True, slots=True)
class _Speaker:
    rng: random.Random
    language: str
    country: str
    platform: Platform
    handle: str

    def say(self, kind: str, *, from_business: bool = False, contact: Contact | None = None) -> Line:
        pause = self.rng.uniform(40, 400) if from_business else self.rng.uniform(8, 150)
        text = say(self.rng, self.language, kind, contact.shown if contact else "")
        return Line(pause, text, from_business, contact.value if contact else "")


def _lines(who: _Speaker) -> list[Line]:
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


def _sharing(who: _Speaker) -> list[Line]:
    """From the question for a contact to the thanks for it; some share two, some the same one twice."""
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
