"""Identifiers: UUIDv7 for rows, 19-digit API ids, opaque tokens."""

import hashlib
import itertools
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

_COUNTER_BITS: Final = 22
_TICK_BITS: Final = 12
"""Bits of the counter within a millisecond; an overflow continues in the next one."""
_lock = threading.Lock()
_read_ns = time.time_ns
_last_tick = 0
_counter = itertools.count(int.from_bytes(os.urandom(3)))
_BLOCK_BYTES: Final = 4_096
_MASK_48: Final = (1 << 48) - 1


def new_id() -> str:
    """Make a UUIDv7 as text; later ids of this process sort later, and the last 62 bits are unguessable.

    Source: RFC 9562, sections 5.7 and 6.2.
    """
    global _last_tick
    with _lock:
        _last_tick = tick = max(_last_tick + 1, _read_ns() // 1_000_000 << _TICK_BITS)
    millis, step = tick >> _TICK_BITS, tick & (1 << _TICK_BITS) - 1
    return id_text((millis << 16 | step).to_bytes(8) + _random.draw(), version=7)


@dataclass(eq=False)
class _Random:
    """Random bytes for ids, drawn in blocks, since each system call lets another thread run."""

    read_bytes: Callable[[int], bytes] = os.urandom
    pieces: list[bytes] = field(default_factory=list)

    def draw(self) -> bytes:
        """Return eight unused random bytes."""
        try:
            return self.pieces.pop()
        except IndexError:
            block = self.read_bytes(_BLOCK_BYTES)
            pieces = [block[start : start + 8] for start in range(0, _BLOCK_BYTES, 8)]
            piece = pieces.pop()
            self.pieces += pieces
            return piece


_random = _Random()
if hasattr(os, "register_at_fork"):
    # A forked process must not repeat its parent's ids, so it drops their block.
    os.register_at_fork(after_in_child=lambda: _random.pieces.clear())


@contextmanager
def seeded_ids(seed: int, at_ms: int) -> Iterator[None]:
    """Make ids and numbers repeatable in this block: the clock stands at ``at_ms``, random bytes have a seed.

    Such ids can be guessed, so only simulations use this. Secrets stay random.
    """
    global _read_ns, _last_tick, _counter, _random
    before = (_read_ns, _last_tick, _counter, _random)
    _read_ns, _last_tick = (lambda: at_ms * 1_000_000), 0
    _counter, _random = itertools.count(), _Random(random.Random(seed).randbytes)  # noqa: S311 - for worlds
    try:
        yield
    finally:
        _read_ns, _last_tick, _counter, _random = before


def new_number() -> int:
    """Make a 19-digit number that fits a signed 64-bit column and grows with time.

    The API shows it as a string: JavaScript loses digits beyond 2^53. The low 22 bits count up from a
    random start, so one process never repeats itself within a millisecond.
    """
    with _lock:
        step = next(_counter)
    return number_at(_read_ns() // 1_000_000, step)


def number_at(at_ms: int, step: int) -> int:
    """Return the number of a moment, in milliseconds since 1970; ``step`` counts the numbers of a process."""
    return at_ms << _COUNTER_BITS | step & ((1 << _COUNTER_BITS) - 1)


def made_at_ms(number: int) -> int:
    """Return when a number was made, in milliseconds since 1970."""
    return number >> _COUNTER_BITS


@lru_cache(maxsize=16_384)
def named_id(namespace: str, name: str) -> str:
    """Derive the same UUID from the same namespace and name, every time and everywhere.

    Source: RFC 9562, section 5.5 (UUIDv5).
    """
    raw = bytes.fromhex(namespace.replace("-", ""))  # a quarter of the time of `uuid.UUID`
    return id_text(hashlib.sha1(raw + name.encode(), usedforsecurity=False).digest(), version=5)


def timed_id(at_ms: int, namespace: str, name: str) -> str:
    """Derive the same UUID from the same moment, namespace and name; ids of later moments sort later.

    ``at_ms`` is in milliseconds since 1970. Rows of one time are neighbours in the index of ids; those of
    ``named_id`` are scattered.
    Source: RFC 9562, section 5.8 (UUIDv8).
    """
    raw = bytes.fromhex(namespace.replace("-", ""))
    digest = hashlib.sha1(raw + name.encode(), usedforsecurity=False).digest()
    return id_text((at_ms & _MASK_48).to_bytes(6) + digest[:10], version=8)


def id_text(raw: bytes, version: int) -> str:
    """Format the first 16 bytes as a UUID of a version, several times faster than `uuid.UUID`."""
    bits = bytearray(raw[:16])
    bits[6], bits[8] = version << 4 | bits[6] & 0x0F, 0x80 | bits[8] & 0x3F
    text = bits.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_secret(prefix: str) -> str:
    """Make an opaque token with 256 random bits; the prefix identifies its kind."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def hash_secret(token: str) -> str:
    """Hash an opaque token for storage; 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()
