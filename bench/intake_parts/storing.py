"""Storing many deliveries in rounds, each settled before the next, so that platforms are never held back."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import batched
from typing import Final

from sqlalchemy import text

from bench.harness import Cost, measured
from bench.intake_parts.beside import postgres_cpu_s
from bench.intake_parts.sending import send_all
from bench.intake_parts.serving import Place, Running, Statements, count_waiting, learn
from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.store.conversations import MOST_WAITING
from contatto.kit.db.tx import Tx

ROUND: Final = MOST_WAITING - 200
"""Deliveries of a round: with more that wait platforms are answered later (`inbox/actions/incoming`)."""


@dataclass
class Done:
    """Cost of all rounds of one step, and that of PostgreSQL's processes beside it."""

    cost: Cost
    count: int = 0
    statements: int = 0
    postgres_s: float = 0.0

    def add(self, cost: Cost, count: int, postgres_s: float, statements: int = 0) -> None:
        self.cost.wall_s += cost.wall_s
        self.cost.cpu_s += cost.cpu_s
        self.cost.peak_rss_mib = max(self.cost.peak_rss_mib, cost.peak_rss_mib)
        self.count += count
        self.statements += statements
        self.postgres_s += postgres_s


def store_in_rounds(
    place: Place, server: Running, warming: Sequence[bytes], requests: Sequence[bytes], kept: str
) -> tuple[Done, Done]:
    """Return the cost of storing the requests and that of settling them; neither counts in the other.

    What ``warming`` takes does not count: it fills caches, and settling it reads the patterns of all
    languages. The rows of all deliveries, as they were stored, are copied to a new table called ``kept``.
    """
    stored, settled = Done(Cost()), Done(Cost())
    with _settling(place) as settle:
        load(server, warming)
        _keep_rows(place, f"CREATE TABLE {kept} AS SELECT * FROM receipts WHERE 1 = 0")
        settle()
        learn(place)
        for some in batched(requests, ROUND):
            beside = postgres_cpu_s(place)
            cost = load(server, some)
            stored.add(cost, len(some), postgres_cpu_s(place) - beside)
            _keep_rows(place, f"INSERT INTO {kept} SELECT * FROM receipts WHERE state = 'received'")
            beside = postgres_cpu_s(place)
            cost, statements = settle()
            settled.add(cost, len(some), postgres_cpu_s(place) - beside, statements)
    return stored, settled


def load(server: Running, requests: Sequence[bytes]) -> Cost:
    """Send all to a server, as fast as it takes them."""
    cpu, started = server.cpu_s(), time.perf_counter()
    asyncio.run(send_all(server.port, requests))
    return Cost(time.perf_counter() - started, server.cpu_s() - cpu, server.peak_mib())


def _keep_rows(place: Place, statement: str) -> None:
    def keep(tx: Tx) -> None:
        tx.execute(text(statement))

    context = place.open()
    context.db.write_now(keep)
    context.db.close()


@contextmanager
def _settling(place: Place) -> Iterator[Callable[[], tuple[Cost, int]]]:
    """Yield a function that settles all that waits, as the worker does, and returns cost and statements."""
    context = place.open()
    statements = Statements(context)

    def settle() -> tuple[Cost, int]:
        before = statements.count
        with measured() as cost:
            while context.db.write_now(settle_receipts):
                pass
        if left := context.db.read_now(count_waiting):
            raise RuntimeError(f"{left} deliveries are not settled")
        return cost, statements.count - before

    yield settle
    context.db.close()
