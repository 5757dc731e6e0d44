"""Going down to the lowest point of a convex function of many numbers, by its slopes alone.

Theory. The last steps, and how the slopes changed along them, tell how the function bends (L-BFGS). Before
any step was made its bends along each axis do. A step that does not bring what its slope promises is halved.

Source: Nocedal and Wright 2006, algorithm 7.4 and the condition of Armijo.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

_REMEMBERED: Final = 10
_LEAST_GAIN: Final = 1e-4
"""So much of what the slope promises a step has to bring."""
_SHORTEST: Final = 1e-6


class Descent:
    """A walk down: ``trial`` is where to look at the function next, ``best`` the lowest point so far."""

    def __init__(self, start: Floats, enough: float) -> None:
        """Begin at a point; a step that brings less than the share ``enough`` of the value is the last."""
        self.best = self.trial = start
        self.is_done = False
        self._enough = enough
        self._value = np.inf
        self._slopes = np.zeros_like(start)
        self._direction = np.zeros_like(start)
        self._promised = 0.0
        self._length = 1.0
        self._steps: list[tuple[Floats, Floats]] = []

    def take(self, value: float, slopes: Floats, bends: Floats) -> None:
        """Take the value at ``trial``, its slopes, and its bends along each axis; find the next trial."""
        if value > self._value + _LEAST_GAIN * self._length * self._promised:
            self._length *= 0.5
            self.is_done = self._length < _SHORTEST
        else:
            self._accept(value, slopes, bends)
        self.trial = self.best if self.is_done else self.best + self._length * self._direction

    def _accept(self, value: float, slopes: Floats, bends: Floats) -> None:
        step, turned = self.trial - self.best, slopes - self._slopes
        if np.isfinite(self._value):
            self.is_done = self._value - value <= self._enough * abs(value)
            if float(step @ turned) > 0.0:
                self._steps = [*self._steps, (step, turned)][-_REMEMBERED:]
        self.best, self._value, self._slopes = self.trial, value, slopes
        self._direction = -self._bent(slopes, 1.0 / np.maximum(bends, 1e-12))
        self._promised = float(slopes @ self._direction)
        self._length = 1.0

    def _bent(self, slopes: Floats, inverse: Floats) -> Floats:
        """The slopes, divided by how the function bends as far as that is known."""
        left, shares = slopes.copy(), []
        for step, turned in reversed(self._steps):
            share = float(step @ left) / float(step @ turned)
            left -= share * turned
            shares.append(share)
        left *= inverse
        if self._steps:
            step, turned = self._steps[-1]
            left *= float(step @ turned) / float(turned @ (inverse * turned))
        for (step, turned), share in zip(self._steps, reversed(shares), strict=True):
            left += step * (share - float(turned @ left) / float(step @ turned))
        return left
