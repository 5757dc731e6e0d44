"""How much of the difference between estimates came true: the calibration slope.

Theory. Products of estimates may differ too much even where each of them is right, as errors of one question
go with errors of another. So what came is counted against what was expected, times the exponential of a
slope times the logarithm of the estimate (a Poisson regression). 0 leaves estimates as they are, -1 makes
them all alike. The slope is pulled to 0 as strongly as if some that came had told so.

Source: Cox 1958 (two further applications of a model for binary regression), for rates instead of odds.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contatto.kit.kernels import compiled

TRUST: Final = 10.0
"""The precision with which the slope is expected to be 0."""
BOUNDS: Final = (-0.8, 0.5)
_STEPS: Final = 8
LEAST_WORTH: Final = 1e-30
"""No viewer is worth less, so that there is a logarithm."""


@compiled
def boldness(score: float, slope: float, mean: float) -> float:
    """How many times an estimate counts: by a slope that was fitted, and the mean at which it counts once."""
    return math.exp(slope * (score - mean))


def fit_slope(
    scores: NDArray[np.float64], expected: NDArray[np.float64], came: NDArray[np.float64]
) -> tuple[float, float]:
    """Fit the slope.

    Args:
        scores: logarithms of estimates.
        expected: how much was expected of each, greater than 0.
        came: how much came.

    Returns:
        The slope, and the mean score at which it changes nothing.
    """
    mean = float(expected @ scores / expected.sum())
    away = scores - mean
    slope, level = 0.0, came.sum() / expected.sum()
    for _ in range(_STEPS):
        now = expected * np.exp(np.clip(slope * away, -5.0, 5.0))
        level = max(came.sum(), 1.0) / now.sum()
        now *= level
        middle = float(now @ away / now.sum())
        rise = float((came - now) @ away) - TRUST * slope
        bend = float(now @ (away - middle) ** 2) + TRUST
        slope += min(max(rise / bend, -0.5), 0.5)
    return min(max(slope, BOUNDS[0]), BOUNDS[1]), mean
