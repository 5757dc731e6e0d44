"""Rate limits of public doors, kept in memory: so many in a span, for each key."""

from collections import deque
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.requests import HTTPConnection

from contatto.kit import errors
from contatto.kit.errors import Refused

_MOST_KEYS: Final = 50_000


class RateLimit:
    """A sliding window for each key (an address, a visitor); the oldest keys are forgotten first."""

    def __init__(self, most: int, span_s: float) -> None:
        self._most = most
        self._span_s = span_s
        self._seen: dict[str, deque[float]] = {}

    def check(self, key: str, now_s: float) -> None:
        """Count a try.

        Raises:
            Refused: TOO_MANY, with the seconds to wait; a refused try is not counted.
        """
        tries = self._seen.pop(key, None) or deque()
        while tries and tries[0] <= now_s - self._span_s:
            tries.popleft()
        self._seen[key] = tries  # at the end again: the dict is in order of last use
        if len(self._seen) > _MOST_KEYS:
            del self._seen[next(iter(self._seen))]
        if len(tries) >= self._most:
            wait = int(tries[0] + self._span_s - now_s) + 1
            raise Refused(
                errors.TOO_MANY,
                "More than %(most)s in %(span)s s.",
                wait,
                most=self._most,
                span=round(self._span_s),
            )
        tries.append(now_s)


def network_of(address: str) -> str:
    """What counts as one stranger: an IPv4 address, or the /64 of IPv6, of which one subscriber has all.

    Source: RFC 6177, and BCP 157 on what sites are given.
    """
    try:
        known: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(IPv6Network((known, 64), strict=False))


def client_network(connection: HTTPConnection) -> str:
    """The network that a request comes from; empty when the server does not know."""
    return network_of(connection.client.host) if connection.client else ""
