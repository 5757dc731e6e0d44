"""How quickly conversations are answered, by the business and by each of its people."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

BUCKETS_S: Final = (300, 3_600, 86_400)
"""Up to five minutes, an hour, a day; what takes longer is in a last bucket."""


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """A conversation that a customer began, and who of the business answered it first, and when."""

    started_at: datetime
    answered_at: datetime | None
    author: str


@dataclass(frozen=True, slots=True)
class Speed:
    """How quickly someone answers: the median, and how many answers lie in each bucket of time."""

    author: str
    answered: int
    median_s: int | None
    buckets: tuple[int, ...]


def speed_of(author: str, answers: Iterable[FirstAnswer]) -> Speed:
    seconds = sorted(
        max(int((answer.answered_at - answer.started_at).total_seconds()), 0)
        for answer in answers
        if answer.answered_at
    )
    buckets = [0] * (len(BUCKETS_S) + 1)
    for taken in seconds:
        buckets[sum(taken > limit for limit in BUCKETS_S)] += 1
    return Speed(author, len(seconds), int(median(seconds)) if seconds else None, tuple(buckets))


def speeds(answers: Iterable[FirstAnswer]) -> list[Speed]:
    """The speed of each person who gave a first answer, the busiest first."""
    by_author: defaultdict[str, list[FirstAnswer]] = defaultdict(list)
    for answer in answers:
        if answer.answered_at:
            by_author[answer.author].append(answer)
    found = [speed_of(author, mine) for author, mine in by_author.items()]
    return sorted(found, key=lambda one: (-one.answered, one.author))
