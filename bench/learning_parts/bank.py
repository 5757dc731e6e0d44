"""Telephone offers of a bank (UCI Bank Marketing): five folds, and in the order of dates, with drift."""

import csv
import gzip
from collections import deque
from pathlib import Path
from typing import Final

import numpy as np

from bench.learning_parts.ours import Floats, Hashed, Learner, area_under_curve, hash_rows
from contatto.learning.auction import calibrated
from contatto.learning.columns import LEAD
from contatto.learning.evaluation import score_predictions
from contatto.learning.market import CalibrationCounts

FILE: Final = "uci_bank_additional_full.csv.gz"
KNOWN_LATER: Final = "duration"
"""The length of a call is known only after it."""
FOLDS: Final = 5
BEGINS: Final = 4_000
PERIODS: Final = 12
ROWS_A_DAY: Final = 60
"""The file has some sixty calls for each working day."""
HALF_LIFE_DAYS: Final = 3.0
"""For the calibration of leads, as in delivery."""
EVERY: Final = 300
"""A training runs after so many calls: five days of work."""
LATE: Final = 1_000


def read_calls(folder: Path) -> tuple[list[dict[str, str | float]], Floats]:
    """Read the facts known before each call, and whether it ended in a deal."""
    with gzip.open(folder / FILE, "rt") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    came = np.array([float(row["y"] == "yes") for row in rows])
    told = [
        {name: _value(text) for name, text in row.items() if name not in {"y", KNOWN_LATER}} for row in rows
    ]
    return told, came


def read_bank(folder: Path) -> tuple[list[Hashed], Floats]:
    """Read the calls as hashed features, and whether they ended in a deal."""
    told, came = read_calls(folder)
    return hash_rows(told), came


def _value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def five_folds(rows: list[Hashed], came: Floats, passes: int) -> dict[str, float]:
    """Mean figures over five folds by lot, after so many passes over the other four."""
    chance = np.random.default_rng(0)
    order = chance.permutation(len(rows))
    areas, losses, errors = [], [], []
    for fold in range(FOLDS):
        learner, test = Learner(), order[fold::FOLDS]
        train = np.setdiff1d(order, test)
        learner.add([rows[row] for row in train], came[train])
        learner.train(passes)
        estimates = np.array([learner.estimate(rows[row]) for row in test])
        judged = score_predictions(estimates, came[test])
        areas.append(area_under_curve(estimates, came[test]))
        losses.append(judged.log_loss)
        errors.append(judged.calibration_error)
    return {"AUC": float(np.mean(areas)), "log loss": float(np.mean(losses)), "ECE": float(np.mean(errors))}


def in_date_order(rows: list[Hashed], came: Floats, late: int, *, calibrates: bool) -> dict[str, float]:
    """Each call is estimated, and learned so many calls later; judged from the four-thousandth on.

    As in delivery, training continues from the last one, and calibration counts the present prediction of a
    call when its outcome arrives.
    """
    learner, calibration = Learner(), CalibrationCounts()
    calibration.grow(1)
    fade = np.full(calibration.came.shape[1], 0.5 ** (1 / (HALF_LIFE_DAYS * ROWS_A_DAY)))
    waiting: deque[int] = deque()
    estimates = np.zeros(len(rows))
    for place, row in enumerate(rows):
        raw = learner.estimate(row)
        factor = float(calibration.factors()[0, LEAD]) if calibrates else 1.0
        estimates[place] = calibrated(raw, factor)
        waiting.append(place)
        while waiting and waiting[0] <= place - late:
            known = waiting.popleft()
            for counts in (calibration.came, calibration.expected, calibration.tried):
                counts *= fade
            calibration.expected[0, LEAD] += learner.estimate(rows[known])
            calibration.tried[0, LEAD] += 1.0
            learner.add([rows[known]], came[known : known + 1])
            calibration.came[0, LEAD] += float(came[known])
        if place % EVERY == 0:
            learner.train()
    return judge_in_periods(estimates, came)


def judge_in_periods(estimates: Floats, came: Floats) -> dict[str, float]:
    """Figures from the four-thousandth call on; expected by actual deals in the worst of twelve periods."""
    judged = score_predictions(estimates[BEGINS:], came[BEGINS:])
    parts = np.array_split(np.arange(BEGINS, len(came)), PERIODS)
    ratios = [float(estimates[part].sum() / came[part].sum()) for part in parts]
    return {
        "log loss": judged.log_loss,
        "AUC": area_under_curve(estimates[BEGINS:], came[BEGINS:]),
        "NE": judged.normalized,
        "worst period": min(ratios, key=lambda ratio: min(ratio, 1 / ratio)),
    }
