"""What ad platforms do to those who tell them events, as plays: each looks whether every step counts once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from contatto.kit.outbound.model import HttpAnswer
from contatto.signals.model.events import SignalState
from contatto.signals.model.settings import Step
from contatto.signals.rules.reasons import (
    DATASET_GONE,
    EVENT_REFUSED,
    MAYBE_COUNTED,
    NOBODY_TO_MATCH,
    TOKEN_REFUSED,
    TOO_OLD,
)
from contatto.simulator.crms.bench import Wrong
from contatto.simulator.signals.bench import ADA, SignalBench, let_in
from contatto.simulator.signals.platforms import LOST, RESET, START

type Play = Callable[[SignalBench], None]
type Fate = HttpAnswer | str | None

STORM: Final = 10
DOWN: Final = HttpAnswer(503, {}, b"")
HTML: Final = HttpAnswer(200, {}, b"<!doctype html><title>Sign in</title>")
EMPTY: Final = HttpAnswer(200, {}, b"{}")
AFTER_S: Final = 600
THROTTLED: Final = "throttled"
"""Stands for what the platform says then: each says it in its own way."""


def _meets(*fates: Fate) -> Play:
    """What comes of the first tries of a step; another step follows."""

    def play(bench: SignalBench) -> None:
        events = bench.event(), bench.event(0, Step.QUALIFIED)
        for event in events:
            bench.platform.fates = [
                bench.platform.throttled(AFTER_S) if fate == THROTTLED else fate for fate in fates
            ]
            bench.arrives(event)
        bench.check(*events)

    return play


def _expired(bench: SignalBench) -> None:
    """What is due waits until a person has given another token."""
    bench.platform.token = "another"  # noqa: S105 - of a platform in memory
    _waits_for_a_person(bench, TOKEN_REFUSED)


def _data_set_gone(bench: SignalBench) -> None:
    bench.platform.dataset = "1800000000000000002"
    _waits_for_a_person(bench, DATASET_GONE)


def _waits_for_a_person(bench: SignalBench, reason: str) -> None:
    events = [bench.event(number) for number in range(3)]
    for event in events:
        bench.ends(event, SignalState.WITHHELD, reason)
    let_in(bench)
    bench.arrives(*events)
    bench.check(*events)


def _forbidden(bench: SignalBench) -> None:
    bench.platform.fates = [HttpAnswer(403, {}, b"")]
    bench.ends(bench.event(), SignalState.WITHHELD, TOKEN_REFUSED)
    bench.arrives(bench.event())
    bench.check(bench.event())


def _again(bench: SignalBench) -> None:
    """The same step again, as after a restore of our own backup."""
    bench.arrives(bench.event(), bench.event(), bench.event())
    bench.check(bench.event())


def _keeps_to_retry_after(bench: SignalBench) -> None:
    bench.platform.fates = [bench.platform.throttled(AFTER_S)]
    bench.arrives(bench.event())
    if bench.platform.now < START + timedelta(seconds=AFTER_S):
        raise Wrong("it did not wait as long as it was asked to")
    bench.check(bench.event())


def _refused(bench: SignalBench) -> None:
    """Refused in an answer that says 200: a dead letter, which counts once it is sent again."""
    bench.platform.fates = [bench.platform.refused()]
    bench.ends(bench.event(), SignalState.DEAD, EVENT_REFUSED)
    bench.arrives(bench.event())
    bench.check(bench.event())


def _killed(bench: SignalBench) -> None:
    """Killed between the request and the note of it."""
    for step in (Step.CAPTURED, Step.QUALIFIED):
        bench.platform.send(bench.connector.ask(bench.feed, bench.event(0, step)))
        bench.arrives(bench.event(0, step))
    bench.check(bench.event(), bench.event(0, Step.QUALIFIED))


def _off_for_a_week(bench: SignalBench) -> None:
    """After eight days what is older than a week is not told; what is younger is."""
    bench.platform.now = START + timedelta(days=8)
    young = replace(bench.event(1), occurred_at=START + timedelta(days=6))
    bench.ends(bench.event(), SignalState.DEAD, TOO_OLD)
    bench.arrives(young)
    bench.check(young)


def _lost_for_two_days(bench: SignalBench) -> None:
    """The platform forgets ids after two days: what may have been counted is not sent again."""
    bench.platform.send(bench.connector.ask(bench.feed, bench.event()))
    bench.unsure.add(bench.event().event_id)
    bench.platform.now = START + timedelta(hours=49)
    bench.ends(bench.event(), SignalState.DEAD, MAYBE_COUNTED)
    bench.check(bench.event())


def _skewed(bench: SignalBench) -> None:
    """The platform's clock is a day behind: it takes no event of tomorrow, and takes it once it is right."""
    bench.platform.now = START - timedelta(days=1)
    bench.ends(bench.event(), SignalState.DEAD, EVENT_REFUSED)
    bench.platform.now = START
    bench.arrives(bench.event())
    bench.check(bench.event())


def _wrong_order(bench: SignalBench) -> None:
    """The answer of the first step is lost, and the second is there before it is sent again."""
    first, second = bench.event(), bench.event(0, Step.QUALIFIED)
    bench.platform.fates = [LOST]
    bench.platform.send(bench.connector.ask(bench.feed, first))
    bench.arrives(second, first)
    bench.check(first, second)


def _one_phone(bench: SignalBench) -> None:
    """Two people with one phone are two leads."""
    other = bench.event(1, whom=replace(ADA, external_id="person-2"))
    bench.arrives(bench.event(), other)
    bench.check(bench.event(), other)


def _worth(bench: SignalBench) -> None:
    """What a conversion is worth arrives as it is, in its currency."""
    sale = bench.event(0, Step.CONVERTED)
    bench.platform.fates = [LOST, DOWN]
    bench.arrives(sale)
    (counted,) = bench.platform.counted
    if (counted.get("properties") or counted.get("custom_data")) != {"value": 12.5, "currency": "EUR"}:
        raise Wrong("the value is another one")
    bench.check(sale)


def _nobody(bench: SignalBench) -> None:
    """Without anything to find the person by, nothing is sent."""
    blank = replace(ADA, emails=(), phones=(), click_id="", channel=None, business_id="", scoped_id="")
    bench.ends(bench.event(whom=blank), SignalState.WITHHELD, NOBODY_TO_MATCH)
    if bench.platform.asked:
        raise Wrong("something was sent all the same")


def _spelled_oddly(bench: SignalBench) -> None:
    """A detail that is spelled in another way is the same person: what leaves is the same hash."""
    odd = replace(ADA, emails=("  ADA@Example.com ",), phones=("+65 9123-4567",))
    bench.arrives(bench.event(), bench.event(1, whom=odd))
    one, two = (each.get("user") or each["user_data"] for each in bench.platform.counted)
    if any(one.get(name) != two.get(name) for name in ("email", "em", "phone", "ph")):
        raise Wrong("one person has two hashes")


def _many(bench: SignalBench) -> None:
    """A hundred steps, of which every third meets something."""
    fates: list[Fate] = [LOST, DOWN, RESET, HTML, bench.platform.throttled(1), EMPTY]
    events = [bench.event(number) for number in range(100)]
    for number, event in enumerate(events):
        bench.platform.fates = [] if number % 3 else [fates[number // 3 % len(fates)]]
        bench.arrives(event)
    bench.check(*events)


FAULTS: Final[Mapping[str, Play]] = {
    "expired token": _expired,
    "not allowed": _forbidden,
    "told already": _again,
    "too many requests": _meets(THROTTLED),
    "a storm of 429": _meets(*[THROTTLED] * STORM),
    "told to wait": _keeps_to_retry_after,
    "server error": _meets(DOWN),
    "connection reset": _meets(RESET),
    "slow": _meets(LOST),
    "taken, and the answer lost": _meets(LOST, LOST),
    "lost, and lost again": _meets(RESET, LOST, RESET, LOST),
    "HTML instead of JSON": _meets(HTML),
    "an answer that says nothing": _meets(EMPTY),
    "down and slow in turn": _meets(DOWN, RESET, THROTTLED, LOST, HTML),
    "refused in a good answer": _refused,
    "data set deleted": _data_set_gone,
    "killed between request and note": _killed,
    "off for more than a week": _off_for_a_week,
    "no answer for two days": _lost_for_two_days,
    "clock a day off": _skewed,
    "answers in the wrong order": _wrong_order,
    "one phone of two people": _one_phone,
    "spelled in two ways": _spelled_oddly,
    "worth something": _worth,
    "nobody to find": _nobody,
    "a hundred, and all that goes wrong": _many,
}
"""Fault → how it is played."""
