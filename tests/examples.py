"""How many examples Hypothesis draws: a part of them in the default run, all in `make test-all`."""

import os
from typing import Final

ALL: Final = "CONTATTO_ALL_EXAMPLES"
"""The environment variable that asks for all; `make test-all` sets it."""
ONE_IN: Final = 5
FEW: Final = 10
"""So few are drawn in every run."""


def examples(number: int) -> int:
    """The number to draw in this run, of those that a test draws in the longest one."""
    return number if os.environ.get(ALL) else min(number, max(FEW, number // ONE_IN))
