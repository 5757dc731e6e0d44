"""Telephone offers as leads of a business, by the scorer of leads: nightly models, corrected."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bench.learning_parts.bank import FOLDS, judge_in_periods, read_calls
from bench.learning_parts.ours import Floats, area_under_curve
from contatto.leads.actions.jobs import MOST
from contatto.leads.engines import Correction, Described, chance_at, learn_quality
from contatto.learning.evaluation import score_predictions

EVERY: Final = 500
"""A model is learned after so many calls: the work of some eight days."""
FIRST: Final = 1_000
"""The first model is learned when so many calls are over."""


def describe_bank(folder: Path) -> tuple[list[Described], Floats]:
    """Read the calls as words and measures, and whether they ended in a deal."""
    calls, came = read_calls(folder)
    return [_described(call) for call in calls], came


def _described(call: dict[str, str | float]) -> Described:
    words = [f"{name}:{value}" for name, value in call.items() if isinstance(value, str)]
    return words, {name: value for name, value in call.items() if isinstance(value, float)}


def five_folds(rows: Sequence[Described], came: Floats) -> dict[str, float]:
    """Mean figures over five folds by lot, the same folds as those of the learner of delivery."""
    order = np.random.default_rng(0).permutation(len(rows))
    areas, losses, errors = [], [], []
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        train = np.setdiff1d(order, test)
        model = learn_quality([rows[row] for row in train], (came[train] > 0.5).tolist())
        estimates = chance_at(model.predict([rows[row] for row in test])[0])
        judged = score_predictions(estimates, came[test])
        areas.append(area_under_curve(estimates, came[test]))
        losses.append(judged.log_loss)
        errors.append(judged.calibration_error)
    return {"AUC": float(np.mean(areas)), "log loss": float(np.mean(losses)), "ECE": float(np.mean(errors))}


def in_date_order(rows: Sequence[Described], came: Floats, late: int) -> dict[str, dict[str, float]]:
    """Each call is scored by a model of what was known, and its outcome comes so many calls later.

    The model is learned from those of the newest leads whose outcome is known, as each night in the product;
    outcomes correct it as they come, which the product does each hour. Figures are with the correction and
    without it, from the four-thousandth call on.
    """
    said = np.full(len(rows), float(np.log(0.1 / 0.9)))
    estimates, correction = np.zeros(len(rows)), Correction()
    waiting: deque[int] = deque()
    for place in range(len(rows)):
        if place >= FIRST and place % EVERY == 0:
            known = range(max(0, place - MOST), max(place - late, 0))
            _say(said, rows, came, known, slice(place, place + EVERY))
        estimates[place] = correction.chance(float(said[place]))
        waiting.append(place)
        while waiting and waiting[0] <= place - late:
            told = waiting.popleft()
            if told >= FIRST:
                correction = correction.learn(float(said[told]), float(came[told]))
    return {
        "": judge_in_periods(estimates, came),
        ", not corrected": judge_in_periods(chance_at(said), came),
    }


def _say(said: Floats, rows: Sequence[Described], came: Floats, known: range, asked: slice) -> None:
    """Train a model on some calls and fill in its estimates of others."""
    good = (came[known.start : known.stop] > 0.5).tolist()
    if 0 < sum(good) < len(good):
        model = learn_quality(rows[known.start : known.stop], good)
        said[asked] = model.predict(rows[asked])[0]
