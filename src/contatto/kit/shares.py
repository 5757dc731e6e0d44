"""Shares of a whole, and how sure they are."""

import math
from typing import Final

_Z: Final = 1.959964
"""Of a 95 % interval."""
_LEAST: Final = 1e-9
"""Chances are kept so far from 0 and 1."""


def interval_of(came: int, asked: int) -> tuple[float, float]:
    """The 95 % interval of a share; all there is where nothing was asked.

    Source: Wilson 1927.
    """
    if asked <= 0:
        return 0.0, 1.0
    share, squared = came / asked, _Z * _Z
    middle = share + squared / (2.0 * asked)
    reach = _Z * math.sqrt(share * (1.0 - share) / asked + squared / (4.0 * asked * asked))
    below = 1.0 + squared / asked
    return max((middle - reach) / below, 0.0), min((middle + reach) / below, 1.0)


def interval_of_count(n: int) -> tuple[float, float]:
    """Return the 95 % interval of the rate behind a count, as a count: 0 has no lower end but 0.

    Source: Byar's approximation to the exact interval of Poisson.
    """
    low = n * (1.0 - 1.0 / (9.0 * n) - _Z / (3.0 * math.sqrt(n))) ** 3 if n else 0.0
    more = n + 1.0
    return max(low, 0.0), more * (1.0 - 1.0 / (9.0 * more) + _Z / (3.0 * math.sqrt(more))) ** 3


def loss_of_rate(came: int, asked: int, rate: float) -> float:
    """The mean log loss, in nats, of who told the same chance each time."""
    if not asked:
        return 0.0
    share, loss = came / asked, 0.0
    if share > 0.0:
        loss -= share * math.log(max(rate, _LEAST))
    if share < 1.0:
        loss -= (1.0 - share) * math.log1p(-min(rate, 1.0 - _LEAST))
    return loss
