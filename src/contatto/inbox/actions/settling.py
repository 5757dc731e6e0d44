"""Settling as work that waits: how many batches go on beside each other, and what each of them waits for."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from contatto.inbox.actions.incoming import MANY_AT_ONCE, settle_receipts
from contatto.inbox.store.receipts import WAITING
from contatto.kit.db.tx import Tx
from contatto.kit.turns import Turns
from contatto.kit.work import MANY, Batch, QueuedWork

_LATE: Final = timedelta(milliseconds=500)
"""From when on others help to settle what waits, if it is enough for a whole batch of each."""
_TOO_LATE: Final = timedelta(seconds=2)
"""From when on they help with whatever waits. Before, they would only make the batches of one smaller."""
_GATHER_S: Final = 0.04
_SHARED_GATHER_S: Final = 0.08
_SHARED_MANY: Final = 300
"""On PostgreSQL a batch has some forty ways to the server, which more deliveries share.

They gather for as long as the last batch took, so half of the time at most is spent on small batches.
"""


def settling_work(parallel: int, handing: Callable[[Batch], Batch]) -> tuple[QueuedWork, ...]:
    """So many batches of deliveries beside each other, each with turns of its own.

    Args:
        parallel: how many.
        handing: makes a batch hand out its events.
    """
    return tuple(_settling(number, parallel, handing) for number in range(parallel))


def _settling(number: int, parallel: int, handing: Callable[[Batch], Batch]) -> QueuedWork:
    is_first, is_shared = number == 0, parallel > 1
    return QueuedWork(
        "receipts",
        WAITING.is_due if is_first else partial(_needs_help, batches=number + 1),
        handing(partial(settle_receipts, turns=Turns(WAITING))),
        in_background=False,
        gather_s=0.005 if is_first else 0.2,
        busy_s=_SHARED_GATHER_S if is_shared else _GATHER_S,
        many=_SHARED_MANY if is_shared else MANY,
        tables=WAITING.tables,
        has_many=None if is_shared else _has_many,
        is_brief=is_shared,
    )


def _needs_help(tx: Tx, batches: int) -> bool:
    """Whether so many batches beside each other are called for."""
    if not WAITING.is_late(tx, _LATE):
        return False
    return WAITING.has_many(tx, batches * MANY_AT_ONCE) or WAITING.is_late(tx, _TOO_LATE)


def _has_many(tx: Tx) -> bool:
    """Whether a whole batch waits. On SQLite a batch writes pages of indexes that many deliveries share."""
    return WAITING.has_many(tx, MANY_AT_ONCE)
