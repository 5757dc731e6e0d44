"""Spam in short messages (SMS Spam Collection), judged as chats are: five folds, texts alike in one."""

import gzip
import re
from pathlib import Path
from typing import Final

import numpy as np

from bench.learning_parts.ours import Floats, area_under_curve
from contatto.learning.evaluation import score_predictions
from contatto.spam.rules import fit_weights, hash_ngrams, score_text

FILE: Final = "sms_spam_collection.tsv.gz"
FOLDS: Final = 5
_DIGITS: Final = re.compile(r"\d+")


def read_spam(folder: Path) -> tuple[list[str], Floats]:
    """Read the messages, and whether they are spam."""
    with gzip.open(folder / FILE, "rt", encoding="utf-8", errors="replace") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file if "\t" in line]
    return [text for _, text in rows], np.array([float(label == "spam") for label, _ in rows])


def grouped_folds(texts: list[str], came: Floats) -> dict[str, float]:
    """Mean figures over five folds; texts that are alike without their digits are in the same one."""
    chance = np.random.default_rng(0)
    names = [_DIGITS.sub("0", text.lower()) for text in texts]
    fold_of = {name: int(chance.integers(FOLDS)) for name in sorted(set(names))}
    folds = np.array([fold_of[name] for name in names])
    rows = [hash_ngrams(text) for text in texts]
    areas, recalls, losses = [], [], []
    for fold in range(FOLDS):
        test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        learned = fit_weights([rows[row] for row in train], [came[row] > 0.5 for row in train])
        estimates = 1.0 / (1.0 + np.exp([-score_text(learned, rows[row]) for row in test]))
        areas.append(area_under_curve(estimates, came[test]))
        recalls.append(_recall(estimates, came[test]))
        losses.append(score_predictions(estimates, came[test]).log_loss)
    return {
        "AUC": float(np.mean(areas)),
        "recall": float(np.mean(recalls)),
        "log loss": float(np.mean(losses)),
    }


def _recall(estimates: Floats, came: Floats, false_alarms: float = 0.001) -> float:
    """Return the share of spam above the threshold that a thousandth of the other messages is above."""
    good = np.sort(estimates[came < 0.5])[::-1]
    threshold = good[int(false_alarms * len(good))]
    return float((estimates[came > 0.5] > threshold).mean())
