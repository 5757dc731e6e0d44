"""Spam in short messages (SMS Spam Collection): five folds; texts alike but for digits stay together."""

import gzip
import re
from pathlib import Path
from typing import Final

import numpy as np

from bench.learning_parts.ours import Floats, Hashed, Learner, area_under_curve
from contatto.delivery.rules.evaluating import judge_estimates
from contatto.delivery.rules.hashing import name_hash

FILE: Final = "sms_spam_collection.tsv.gz"
FOLDS: Final = 5
LENGTHS: Final = (2, 3, 4, 5)
SPREAD: Final = 4.0
"""The variance expected of the weight of a piece of a word; all pieces of a message have a length of one."""
ROUNDS: Final = 8
_DIGITS: Final = re.compile(r"\d+")


def read_spam(folder: Path) -> tuple[list[str], Floats]:
    """The messages, and whether they are spam."""
    with gzip.open(folder / FILE, "rt", encoding="utf-8", errors="replace") as file:
        rows = [line.rstrip("\n").split("\t", 1) for line in file if "\t" in line]
    return [text for _, text in rows], np.array([float(label == "spam") for label, _ in rows])


def pieces_of(text: str) -> Hashed:
    """A message as pieces of its words, two to five letters long, edges marked; each counts once."""
    found: dict[str, None] = {}
    for word in text.lower().split():
        marked = f" {word} "
        for length in LENGTHS:
            for start in range(max(len(marked) - length + 1, 1)):
                found[marked[start : start + length]] = None
    names = [name_hash("piece", piece) for piece in found][:1_900]
    return names, [1.0 / max(len(names), 1) ** 0.5] * len(names)


def grouped_folds(texts: list[str], came: Floats) -> dict[str, float]:
    """Mean figures over five folds; texts that are alike without their digits are in the same one."""
    chance = np.random.default_rng(0)
    names = [_DIGITS.sub("0", text.lower()) for text in texts]
    fold_of = {name: int(chance.integers(FOLDS)) for name in sorted(set(names))}
    folds = np.array([fold_of[name] for name in names])
    rows = [pieces_of(text) for text in texts]
    areas, recalls, losses = [], [], []
    for fold in range(FOLDS):
        learner, test = Learner(SPREAD), np.flatnonzero(folds == fold)
        train = np.flatnonzero(folds != fold)
        learner.learn_again([rows[row] for row in train], came[train], ROUNDS)
        estimates = np.array([learner.estimate(rows[row]) for row in test])
        areas.append(area_under_curve(estimates, came[test]))
        recalls.append(_recall(estimates, came[test]))
        losses.append(judge_estimates(estimates, came[test]).log_loss)
    return {
        "AUC": float(np.mean(areas)),
        "recall": float(np.mean(recalls)),
        "log loss": float(np.mean(losses)),
    }


def _recall(estimates: Floats, came: Floats, false_alarms: float = 0.001) -> float:
    """The share of spam above the threshold that a thousandth of the other messages is above."""
    good = np.sort(estimates[came < 0.5])[::-1]
    threshold = good[int(false_alarms * len(good))]
    return float((estimates[came > 0.5] > threshold).mean())
