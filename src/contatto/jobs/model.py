"""A piece of background work that failed, whichever table it waits in."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Source(StrEnum):
    """Where it waits: a handler of an event in the outbox, or a request to an outside system."""

    JOB = "job"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class FailedWork:
    """Work that failed; ids alone, no contact value.

    Attributes:
        id: ``job-7`` or ``request-7``.
        name: its handler, or its kind.
        about: what it concerns, as names and ids.
        destination: the outside system; empty for none.
        reason: why it failed last, as a code or as the place in our code.
        is_dead: whether nobody tries it again by itself.
        failed_at: the first failure since it was last taken; None where no release here knows its handler.
        next_at: when it is tried again; None for a dead letter.
    """

    id: str
    name: str
    about: tuple[tuple[str, str], ...]
    destination: str
    reason: str
    is_dead: bool
    attempts: int
    failed_at: datetime | None
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class FailedCounts:
    """How many are dead letters, and how many failed and are tried again."""

    dead: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of replaying several: done, refused by what they concern, and the last that was looked at."""

    done: int
    refused: int
    last: int | None = None
