"""Work at outside systems: claimed in one transaction, done outside of any, recorded in another."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from contatto.kit.client import Client
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.exchange import Exchange, HttpRequest


@dataclass(frozen=True, slots=True)
class Errand:
    """A request that was claimed; ``key`` tells its owner which row it is of."""

    key: Any
    request: HttpRequest


@dataclass(frozen=True, slots=True)
class Errands:
    """One kind of errand: whether rows are due, how they are claimed, and how an outcome is recorded."""

    is_due: Callable[[Tx], bool]
    claim: Callable[[Tx, int], list[Errand]]
    record: Callable[[Tx, Any, Exchange], None]


AT_ONCE: Final = 16
"""Errands that are on their way at the same time."""


async def run_errands(db: Database, client: Client, kind: Errands) -> int:
    """Do what is due of one kind; say how many that were, so call again until it is 0."""
    if not await db.read(kind.is_due):
        return 0
    claimed = await db.write(lambda tx: kind.claim(tx, AT_ONCE))

    async def run_one(errand: Errand) -> None:
        exchange = await client.send(errand.request)
        await db.write(lambda tx: kind.record(tx, errand.key, exchange))

    await asyncio.gather(*(run_one(errand) for errand in claimed))
    return len(claimed)
