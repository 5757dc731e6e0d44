"""The engine without one of its parts, so that it can be seen what each part brings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from contatto.learning import (
    batch_learning,
    columns,
    features,
    impressions,
    learner,
    market,
    marketplace,
    outcomes,
)

_NOTHING = 1e-9
"""A weight of which so little variance is expected never moves."""

WHOLE = "nothing"
"""Name of the whole engine, which lacks nothing."""

type Part = Callable[[], Iterator[dict[str, float]]]


def _family(number: int) -> Part:
    """Without the weights of one family."""

    def part() -> Iterator[dict[str, float]]:
        with _replaced(market.FIRST_SPREAD, number, _NOTHING):
            yield {}

    return part


def _settings(**values: float) -> Part:
    """With other numbers in the engine's settings."""

    def part() -> Iterator[dict[str, float]]:
        yield values

    return part


def _attribute(owner: Any, name: str, value: Any) -> Part:
    """With something else in place of a function or a number."""

    def part() -> Iterator[dict[str, float]]:
        before = getattr(owner, name)
        setattr(owner, name, value)
        try:
            yield {}
        finally:
            setattr(owner, name, before)

    return part


@contextmanager
def _replaced(table: dict[int, Any], key: int, value: Any) -> Iterator[None]:
    before = table[key]
    table[key] = value
    try:
        yield
    finally:
        table[key] = before


def _at_once(self: impressions.LabelDelays, group: int, edge: int, window_s: float) -> float:
    """Expect that an outcome missing at the first look never comes, until it does."""
    return 1.0


def _as_estimated(self: market.CalibrationCounts) -> Any:
    return np.ones_like(self.came)


_set_knots = features.FieldValues.set_knots


def _knots_alone(self: features.FieldValues, most: int) -> None:
    """Set the knots of a field, but count no number as unusual."""
    _set_knots(self, most)
    self.usual = (-np.inf, np.inf)


def _far_from_all(share: float) -> Part:
    return _attribute(impressions, "_SHRINK", share)


PARTS: dict[str, Part] = {
    WHOLE: _settings(),
    "delay model": _attribute(impressions.LabelDelays, "share_by", _at_once),
    "delay by ad group": _far_from_all(1e9),
    "calibration": _attribute(market.CalibrationCounts, "factors", _as_estimated),
    "calibration by ad group": _attribute(market, "_GROUP_TRUST", 1e9),
    "questions alike": _attribute(market, "HOW_ALIKE", 0.0),
    "calibration slopes": _attribute(batch_learning, "SLOPES", (1.0, 1.0)),
    "viewer's own effect": _family(columns.F_VIEWER),
    "viewer's history": _family(columns.F_HISTORY),
    "classes of viewers": _attribute(features, "LEAST_GAIN", float("inf")),
    "request x ad": _family(columns.F_CONTEXT_AD),
    "request x ad feature": _family(columns.F_CONTEXT_FEATURE),
    "advertiser of several ads": _attribute(market, "SEVERAL", float("inf")),
    "features of the ad": _family(columns.F_AD_FEATURE),
    "unusual numbers": _attribute(features.FieldValues, "set_knots", _knots_alone),
    "part of the day": _attribute(marketplace, "OF_HOURS", _NOTHING),
    "variance by number of features": _attribute(batch_learning, "context_scale", lambda *_: 1.0),
    "wider priors": _attribute(batch_learning, "widen_priors", lambda *_: None),
    "repeated fields without classes": _attribute(features, "REPEATED", float("inf")),
    "idle fields without classes": _attribute(features, "FIELD_GAIN", -float("inf")),
    "between viewer and ad": _family(columns.F_BETWEEN),
    "contact status": _family(columns.F_CONTACT),
    "click farms told": _attribute(learner, "evidence_of", lambda *_, **__: 0.0),
    "spam power": _settings(spam_power=0.0),
    "drawing by lot": _settings(temperature=0.001, explore=0.0),
    "budget for learning": _attribute(outcomes, "LEARNED_AT", 0),
}
"""Parts to take away, by name."""


@contextmanager
def engine_without(name: str) -> Iterator[dict[str, float]]:
    """Run the engine without a part inside the block; yield the settings that take the part away."""
    yield from PARTS[name]()
