"""Rate limits in memory, and limits that all processes share."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import sqlalchemy as sa
from starlette.requests import HTTPConnection

from contatto.kit import errors
from contatto.kit.db.tx import Tx, metadata
from contatto.kit.errors import Refused
from contatto.kit.values import micros

_MOST_KEYS: Final = 50_000


@dataclass(eq=False)
class RateLimit:
    """Sliding window per key (an address, a visitor); least recently used keys are forgotten.

    0 tries mean no limit.
    """

    most: int
    span_s: float
    _seen: dict[str, deque[float]] = field(default_factory=dict)

    def check(self, key: str, now_s: float) -> None:
        """Count a try; raises TOO_MANY with the seconds to wait, and then counts none."""
        if self.most:
            self.look(key, now_s).append(now_s)

    def look(self, key: str, now_s: float) -> deque[float]:
        """Return the times of a key's tries, for the caller to append to; raises TOO_MANY at the limit."""
        tries = self._seen.pop(key, None) or deque()
        while tries and tries[0] <= now_s - self.span_s:
            tries.popleft()
        self._seen[key] = tries  # at the end: the dict is in order of last use
        if len(self._seen) > _MOST_KEYS:
            del self._seen[next(iter(self._seen))]
        if len(tries) >= self.most:
            wait = int(tries[0] + self.span_s - now_s) + 1
            raise Refused(
                errors.TOO_MANY,
                "The limit is %(most)s in %(span)s s.",
                wait,
                most=self.most,
                span=round(self.span_s),
            )
        return tries


class RequestLimit(RateLimit):
    """Requests of one token or program per minute."""


@dataclass(eq=False)
class GuessLimit:
    """Limits of wrong secrets per network and name, and per network.

    A correct secret does not count. Concurrent guesses of a network run in sequence, so that a burst cannot
    pass before its first wrong guesses count.
    """

    _per_name: RateLimit = field(default_factory=partial(RateLimit, 10, 60.0))
    _per_network: RateLimit = field(default_factory=partial(RateLimit, 60, 60.0))
    _turns: dict[str, tuple[asyncio.Lock, int]] = field(default_factory=dict)

    async def judge[T](self, network: str, name: str, check_secret: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``check_secret``; if it refuses, count a wrong guess for the name and network.

        Raises TOO_MANY, or the refusal of ``check_secret``.
        """
        lock, waiting = self._turns.get(network, (asyncio.Lock(), 0))
        self._turns[network] = lock, waiting + 1
        try:
            async with lock:
                now_s = time.monotonic()
                keys = ((self._per_name, f"{network} {name}"), (self._per_network, network))
                counts = [limit.look(key, now_s) for limit, key in keys]
                try:
                    return await check_secret()
                except Refused:
                    for tries in counts:
                        tries.append(now_s)
                    raise
        finally:
            lock, waiting = self._turns.pop(network)
            if waiting > 1:
                self._turns[network] = lock, waiting - 1


def network_of(address: str) -> str:
    """Return the unit of limits: an IPv4 address, or the /64 of IPv6, which one subscriber owns.

    Source: RFC 6177, and BCP 157 on address assignments.
    """
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((parsed, 64), strict=False))


def client_network(connection: HTTPConnection) -> str:
    """Return the network of a request; empty when unknown."""
    return network_of(connection.client.host) if connection.client else ""


rate_limits = sa.Table(
    "rate_limits",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("busy_until", sa.BigInteger, nullable=False),
    sa.Index("ix_rate_limits_busy_until", "busy_until"),
)
"""Row per recently used key; keys are fingerprints, as some are e-mail addresses."""

_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """Rate limit of all processes per key, with an even refill (a leaky bucket).

    A try costs ``span / most`` of time. The row stores the time until which the tries are paid; one statement
    compares and moves it, so concurrent tries cannot both take the last one.

    Source: the generic cell rate algorithm, ITU-T I.371, annex A.

    Attributes:
        name: separates the keys of different limits.
        most: tries per span, and without ``burst`` at once.
        span: time of a full refill.
        says: text of the refusal, instead of the usual one.
        burst: tries at once, if fewer than ``most``.
    """

    name: str
    most: int
    span: timedelta
    says: str = ""
    burst: int = 0

    @property
    def _cost(self) -> int:
        """Return the cost of one try in microseconds."""
        return self.span // timedelta(microseconds=1) // self.most

    def take(self, tx: Tx, key: str, tries: int = 1) -> None:
        """Count one or more tries; raises TOO_MANY with the seconds to wait, and then counts none."""
        at, row_key, cost = micros(tx.now), self._row_key(tx, key), self._cost * tries
        busy = sa.case((rate_limits.c.busy_until > at, rate_limits.c.busy_until), else_=at)
        latest = at + self._cost * (self.burst or self.most)
        if at + cost > latest:
            raise Refused(errors.TOO_MANY, self.says, (at + cost - latest) // _SECOND + 1)
        insert = tx.upsert(rate_limits).values(key=row_key, busy_until=at + cost)
        statement = insert.on_conflict_do_update(
            index_elements=["key"], set_={"busy_until": busy + cost}, where=busy + cost <= latest
        ).returning(rate_limits.c.busy_until)
        if tx.execute(statement).first() is None:
            until = tx.scalar(sa.select(rate_limits.c.busy_until).where(rate_limits.c.key == row_key))
            wait_s = max((int(until) + cost - latest) // _SECOND, 0) + 1
            raise Refused(errors.TOO_MANY, self.says, wait_s)

    def give_back(self, tx: Tx, key: str) -> None:
        """Take back one counted try, as after a success; delete the row of a key without counted tries."""
        own = rate_limits.c.key == self._row_key(tx, key)
        until = rate_limits.c.busy_until - self._cost
        tx.execute(rate_limits.delete().where(own, until <= micros(tx.now)))
        tx.execute(sa.update(rate_limits).where(own).values(busy_until=until))

    def _row_key(self, tx: Tx, key: str) -> str:
        return tx.vault.blind(f"{self.name}\0{key}", "rate limits").hex()


def purge_limits(tx: Tx) -> int:
    """Delete the rows of keys without counted tries, and return how many."""
    return tx.execute(rate_limits.delete().where(rate_limits.c.busy_until <= micros(tx.now))).rowcount
