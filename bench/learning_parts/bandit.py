"""A log with known chances (Open Bandit, small): our off-policy estimators beside their definitions."""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.learning_parts.ours import Floats
from contatto.learning.evaluation import doubly_robust, inverse_propensity, self_normalized

RANDOM: Final = "obd_small_random_all.csv.gz"
THOMPSON: Final = "obd_small_bts_all.csv.gz"
ITEMS: Final = 80
POSITIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Log:
    """Items that were shown (0 to 79), where (0 to 2), whether clicked, and how likely they were."""

    item: np.ndarray[tuple[int], np.dtype[np.int64]]
    position: np.ndarray[tuple[int], np.dtype[np.int64]]
    click: Floats
    propensity: Floats


def read_log(path: Path) -> Log:
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    return Log(
        np.array([int(row["item_id"]) for row in rows]),
        np.array([int(row["position"]) - 1 for row in rows]),
        np.array([float(row["click"]) for row in rows]),
        np.array([float(row["propensity_score"]) for row in rows]),
    )


def shares_of(log: Log) -> Floats:
    """Return the share of views of each item (columns) at each position (rows): the policy on the whole."""
    counts = np.zeros((POSITIONS, ITEMS))
    np.add.at(counts, (log.position, log.item), 1.0)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def rates_of(log: Log) -> Floats:
    """Return the click rate of each item at each position, shrunk to that of all: the expected clicks."""
    clicks, views = np.zeros((POSITIONS, ITEMS)), np.zeros((POSITIONS, ITEMS))
    np.add.at(clicks, (log.position, log.item), log.click)
    np.add.at(views, (log.position, log.item), 1.0)
    return np.asarray((clicks + 100.0 * log.click.mean()) / (views + 100.0))


def ours(log: Log, target: Floats, rates: Floats) -> dict[str, float]:
    """Return the value of a policy by the product's estimators."""
    weights = target[log.position, log.item] / log.propensity
    chosen = rates[log.position, log.item]
    expected = (target * rates).sum(1)[log.position]
    return {
        "IPS": inverse_propensity(log.click, weights).mean,
        "SNIPS": self_normalized(log.click, weights).mean,
        "DR": doubly_robust(log.click, weights, chosen, expected).mean,
    }


def plain(log: Log, target: Floats, rates: Floats) -> dict[str, float]:
    """Return these values from their definitions, row by row and item by item, without the product's code."""
    weighed = total = robust = 0.0
    count = len(log.click)
    for row in range(count):
        at, shown = int(log.position[row]), int(log.item[row])
        weight = float(target[at][shown]) / float(log.propensity[row])
        weighed += weight * float(log.click[row])
        total += weight
        hoped = sum(float(target[at][item]) * float(rates[at][item]) for item in range(ITEMS))
        robust += hoped + weight * (float(log.click[row]) - float(rates[at][shown]))
    return {"IPS": weighed / count, "SNIPS": weighed / total, "DR": robust / count}
