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
_BUSY_HOURS: Final = (2, 1, 1, 1, 1, 1, 2, 4, 5, 5, 5, 6, 9, 7, 5, 5, 6, 7, 9, 12, 14, 14, 10, 5)
"""How many people look at their phones in each hour of the day in Singapore, as weights."""
ZONE_S: Final = 8 * 3600
SLOT_S: Final = 1_800
"""Ads are shown in slots of half an hour: people of one slot see theirs at the same moment."""
_DAY_S: Final = 86_400


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
class Visitor:
    """A person and the plan of a visit.

    ``seen_at_s`` are the moments, in seconds from the beginning, at which an ad may be shown; after the last
    one the person may tap. ``laziness`` and ``reserve`` (0 to 1) are how slow the person is to tap, and to
    share. ``traits`` are known to a publisher if there is ``consent``; the ``wish`` never is. ``twice`` and
    ``disorderly`` say how badly the platform delivers.
    """

    viewer_id: str
    handle: str
    language: str
    country: str
    platform: Platform
    seen_at_s: tuple[float, ...]
    traits: Traits
    wish: Wish
    consent: bool
    p_tap: float
    laziness: float
    tap_after_s: float
    lines: tuple[Line, ...]
    reserve: float
    twice: bool
    disorderly: bool

    def taps(self, appeal: Appeal) -> bool:
        """Whether this person taps an ad that speaks to people so."""
        return self.laziness < self.p_tap * appeal.taps[self.wish]

    def lines_after(self, appeal: Appeal) -> tuple[Line, ...]:
        """What this person writes and is answered after such an ad."""
        shares = self.reserve < P_SHARE[self.wish] * appeal.shares
        return tuple(line for line in self.lines if shares or not line.sharing)


@dataclass(frozen=True, slots=True)
class Habits:
    """How likely people are to do things, and how many ads one sees."""

    most_views: int = 6
    p_tap: float = 0.3
    p_chat: float = 0.84
    p_spam: float = 0.04
    hurry: float = 1.0
    """Divides all waiting times: live people are in more of a hurry than those of history."""


HISTORY: Final = Habits()
LIVE: Final = Habits(most_views=2, p_tap=0.5, p_chat=0.9, hurry=12.0)
_MOST_APPEAL: Final = max(*OFFER.taps.values(), *STORY.taps.values())


def plan_people(seed: int, count: int, span_s: float, starts_at_s: float) -> list[Visitor]:
    """Everybody who sees an ad within a span; ``starts_at_s`` is its beginning in seconds since 1970."""
    rng = random.Random(seed)
    last = span_s - 2 * SLOT_S
    people: list[Visitor] = []
    for _ in range(count):
        moments = sorted(_moments(rng, rng.randint(1, HISTORY.most_views), last, starts_at_s))
        people.append(_cut(plan_visitor(rng, HISTORY, tuple(moments)), span_s))
    return people


def _moments(rng: random.Random, count: int, last_s: float, starts_at_s: float) -> set[float]:
    """Slots in which somebody is looking, more of them in the evening."""
    found: set[float] = set()
    busiest = max(_BUSY_HOURS)
    for _ in range(count):
        while True:
            moment = rng.uniform(0, last_s) // SLOT_S * SLOT_S
            hour = int((starts_at_s + moment + ZONE_S) % _DAY_S // 3600)
            if rng.random() * busiest < _BUSY_HOURS[hour]:
                found.add(moment)
                break
    return found


def plan_visitor(rng: random.Random, habits: Habits, seen_at_s: tuple[float, ...]) -> Visitor:
    """One person with all that they will do."""
    platform = Platform.WEBCHAT if rng.random() < 0.55 else Platform.TIKTOK
    names, weights = zip(*_COUNTRIES[platform], strict=True)
    country = rng.choices(names, weights)[0]
    name = handle(rng)
    traits = draw_traits(rng)
    wish = draw_wish(rng, traits)
    laziness = rng.random()
    may_tap = laziness < habits.p_tap * _MOST_APPEAL
    language = rng.choice(_LANGUAGES[country])
    who = _Speaker(rng, language, country, platform, name)
    return Visitor(
        viewer_id=_viewer_id(rng, platform),
        handle=name,
        language=language,
        country=country,
        platform=platform,
        seen_at_s=seen_at_s,
        traits=traits,
        wish=wish,
        consent=rng.random() < P_CONSENT,
        p_tap=habits.p_tap,
        laziness=laziness,
        tap_after_s=rng.uniform(2, 25) / habits.hurry,
        lines=tuple(_lines(who, habits)) if may_tap else (),
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


def _lines(who: _Speaker, habits: Habits) -> list[Line]:
    rng = who.rng
    if rng.random() >= habits.p_chat:
        return []
    if rng.random() < habits.p_spam:
        return [who.say("spam")]
    lines = [who.say("openers")]
    if rng.random() < 0.6:
        lines.append(who.say("answers", from_business=True))
    lines += [who.say(rng.choice(("questions", "questions", "talk"))) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.15:
        lines.append(who.say("numbers"))
    lines += [replace(line, sharing=True) for line in _sharing(who)]
    return [replace(line, after_s=line.after_s / habits.hurry) for line in lines]


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
    if rng.random() < 0.7:
        lines.append(who.say("thanks", from_business=True))
    return lines


def _kind(contact: Contact) -> str:
    return "emails" if "@" in contact.value else "phones"


def _cut(visitor: Visitor, span_s: float) -> Visitor:
    """The same visitor without the lines that would lie beyond the end."""
    moment = visitor.seen_at_s[-1] + visitor.tap_after_s
    kept: list[Line] = []
    for line in visitor.lines:
        moment += line.after_s
        if moment > span_s:
            break
        kept.append(line)
    return replace(visitor, lines=tuple(kept))
