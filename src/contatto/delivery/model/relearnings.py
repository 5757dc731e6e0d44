"""Learning files of decisions again at night: how far that is, and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec


class Stage(StrEnum):
    """How far learning again is, or how it ended."""

    JUDGING = "judging"
    """Days are learned without the newest ones, which then judge."""
    LEARNING = "learning"
    """It was good enough, so all days are learned."""
    PUBLISHED = "published"
    KEPT = "kept"
    """It foretold worse than what serves, so that stays."""
    TOO_LITTLE = "too_little"
    """Too little came in the days that judge."""
    BROKEN = "broken"
    """The computing ended before its end: memory, time, a file."""
    OVERTAKEN = "overtaken"
    """Another model was published at the same moment; the next night tries again."""


ENDED = frozenset(Stage) - {Stage.JUDGING, Stage.LEARNING}


class Compared(msgspec.Struct, array_like=True, frozen=True):
    """A question in the days that judged: the mean log loss of what was learned again, and of what served."""

    question: str
    asked: int
    came: int
    loss: float
    served: float


@dataclass(frozen=True, slots=True)
class Relearning:
    """The last time that files of a business were learned again; ``version`` is 0 if none was published."""

    business_id: str
    started_at: datetime
    told_at: datetime
    stage: Stage
    views: int
    version: int
    compared: tuple[Compared, ...]
