"""Names of features as numbers of 64 bits, and the slots of a table that they fall to."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np

from contatto.delivery.model.lines import AdGroupLine, AdLine
from contatto.kit.kernels import compiled

NAMES_KEPT: Final = 8_192
"""Names that were asked for lately are not hashed again."""
_A: Final = np.uint64(0x9E3779B97F4A7C15)
_B: Final = np.uint64(0xBF58476D1CE4E5B9)
_C: Final = np.uint64(0x94D049BB133111EB)
_27: Final = np.uint64(27)
_30: Final = np.uint64(30)
_31: Final = np.uint64(31)
_33: Final = np.uint64(33)
_11: Final = np.uint64(11)


def hash_once(*parts: str) -> int:
    """The number that `name_hash` gives, for parts that nobody asks for again: nothing is kept of them."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


@lru_cache(maxsize=NAMES_KEPT)
def name_hash(*parts: str) -> int:
    """The same 64-bit number for the same parts, on every machine and in every run.

    One request asks the same in the models of all businesses that compete for its place.
    """
    return hash_once(*parts)


def digest_lines(lines: Sequence[AdGroupLine | AdLine]) -> int:
    """A number from 1 to 2⁶³ - 1 that stands for these lines."""
    digest = blake2b(msgspec.msgpack.encode(lines), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 1) or 1


@compiled
def slot_of(hashed: np.uint64, shift: np.uint64) -> int:
    """The slot of a feature in a table of ``2 ** (64 - shift)`` slots."""
    return int(np.int64((hashed * _A) >> shift))


@compiled
def slot_beside(hashed: np.uint64, number: int, shift: np.uint64) -> int:
    """The slot of a feature crossed with a numbered thing; those of one feature lie side by side."""
    slots = np.int64(1) << (np.int64(64) - np.int64(shift))
    return int((slot_of(hashed * _C, shift) + number) & (slots - 1))


@compiled
def crossed(left: np.uint64, right: np.uint64) -> np.uint64:
    """The feature "both of these"; the order matters."""
    turned = (right << _31) | (right >> _33)
    return (left ^ turned) * _B


@compiled
def chance(seed: np.uint64, count: np.uint64) -> float:
    """A number in [0, 1) that depends on the seed and the count alone (SplitMix64)."""
    z = seed + count * _A
    z = (z ^ (z >> _30)) * _B
    z = (z ^ (z >> _27)) * _C
    z = z ^ (z >> _31)
    return float(z >> _11) / 9007199254740992.0
