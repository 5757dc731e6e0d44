"""Hashes of passwords that are checked at once, and the slow ones of the product."""

from typing import Final

from argon2 import PasswordHasher

from contatto.accounts import actions

SLOW: Final = actions._hasher
"""As the product hashes; `conftest` puts a quick one in its place."""
NOBODY: Final = actions._DUMMY_HASH
QUICK: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
