"""Files of examples for the learner that serves, and its weights on their way into a newer model."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.delivery.predict.learned import MEANS_AGAIN, Learned
from contatto.delivery.predict.market import Market
from contatto.delivery.predict.records import SNAPSHOT_ARRAYS, Snapshots
from contatto.delivery.predict.relearning import Observed, let_agree, list_kept, observe, tell_missed
from contatto.delivery.predict.waiting import EDGES_S
from contatto.delivery.rules.budgets import SECOND
from contatto.delivery.rules.columns import (
    A_GROUP,
    BETWEEN,
    CLICK,
    CONVERSATION,
    FAMILIES,
    FIRST_AGAIN,
    HEADS,
    HEADS_AGAIN,
    LEAD,
    MOST_CONTEXT,
    SPAM,
    STACKED,
    V_EFFECT,
)
from contatto.delivery.rules.describing import said_by
from contatto.delivery.rules.relearning import shuffle

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

VIEWS_A_DAY: Final = 60.0
"""From this many views or …"""
CLICKS_A_DAY: Final = 4.0
"""… clicks of a day on, a viewer teaches the weights of others less and less."""
BLOCK: Final = 16
"""Neighbours on the disk that are read together, …"""
WINDOW: Final = 32_768
"""… and examples that are in memory together, shuffled."""
_NO_FARMS: Final = -100.0
"""No viewer counts as a click farm: the model suspects by later days, which must not judge earlier ones."""
_YES: Final = -1.0
_NO: Final = 1.0


class Weights(msgspec.Struct, frozen=True):
    """Means by slot, and viewers' own effects, as bytes of arrays."""

    slots: bytes
    means: bytes
    viewers: list[str]
    effects: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples as the learner takes them.

    Attributes:
        observed: see `Observed`.
        features: stand in for those that a marketplace keeps.
        times: of the decisions.
        predictions: those of the time, by head.
        is_asked: whether the question arose, by head.
    """

    observed: Observed
    features: Snapshots
    times: Ints
    predictions: Floats
    is_asked: NDArray[np.bool_]


def forget_weights(market: Market) -> None:
    """Reset the weights of all heads that are learned again to their prior means."""
    market.learned.again[:] = Learned(market.learned.bits).again
    market.viewers.again[:] = 0.0


def batch_of(market: Market, columns: dict[str, Any], as_of_ts: int) -> Batch:
    """Turn columns of examples into a batch; ads that the marketplace does not know are left out.

    Viewers get rows of the marketplace. Examples of erased persons have no features and are left out.
    """
    groups = market.groups
    ad_rows = {int(ad): row for row, ad in enumerate(groups.ad_ids)}
    ads = np.array([ad_rows.get(int(ad), -1) for ad in columns["ad"]], np.int64)
    is_whole = np.array([len(hashes) == BETWEEN for hashes in columns["between"]], np.bool_)
    usable = np.flatnonzero((ads >= 0) & is_whole)
    ads, columns = ads[usable], {name: column[usable] for name, column in columns.items()}
    viewers = [market.viewers.row_of(str(name), 0.0) for name in columns["user_id"]]
    outcomes, is_asked = _outcomes_of(market, columns, groups.ads[ads, A_GROUP].astype(np.int64), as_of_ts)
    samples = np.array([np.arange(len(ads)), ads, viewers], np.int64).T.copy()
    return Batch(
        Observed(samples, outcomes), _features_of(columns), np.asarray(columns["ts"], np.int64),
        _stack(columns["p"], HEADS, np.float64), is_asked,
    )  # fmt: skip


def _features_of(columns: dict[str, Any]) -> Snapshots:
    features = Snapshots()
    features.counts = np.array([len(hashes) for hashes in columns["hashes"]], np.int64)
    is_filled = np.arange(MOST_CONTEXT) < features.counts[:, None]
    for name, lists in (
        ("hashes", columns["hashes"]),
        ("values", columns["weights"]),
        ("kinds", columns["kinds"]),
    ):
        rows = np.zeros(is_filled.shape, getattr(features, name).dtype)
        if len(lists):
            rows[is_filled] = np.concatenate(lists).astype(rows.dtype)
        setattr(features, name, rows)
    features.between = _stack(columns["between"], BETWEEN, np.uint64)
    features.stacks = np.array([said_by(raw) for raw in columns["raw"]], np.float32).reshape(-1, STACKED)
    features.held = np.zeros((len(is_filled), HEADS_AGAIN), np.float32)
    features.stands_for = np.ones(len(is_filled), np.float32)
    views = VIEWS_A_DAY / np.maximum(np.asarray(columns["views_day"], np.float64), VIEWS_A_DAY)
    clicks = CLICKS_A_DAY / np.maximum(np.asarray(columns["clicks_day"], np.float64), CLICKS_A_DAY)
    features.shares = np.minimum(views, clicks).astype(np.float32)
    return features


def _stack(lists: Any, width: int, kind: type[np.generic]) -> NDArray[Any]:
    return np.array(list(lists)).astype(kind).reshape(len(lists), width)


def _outcomes_of(
    market: Market, columns: dict[str, Any], groups: Ints, as_of_ts: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the outcome of each example by head (see `slope_of`), and whether the question arose.

    A lead of a spam chat counts as none.
    """
    outcomes = np.zeros((len(groups), HEADS_AGAIN))
    is_asked = np.ones(outcomes.shape, np.bool_)
    names = ("view", "click", "conversation", "lead", "spam")
    is_there = {name: ~np.ma.getmaskarray(columns[f"{name}_ts"]) for name in names}
    age_s = {
        name: (as_of_ts - np.asarray(np.ma.filled(columns[f"{name}_ts"], 0), np.int64)) / SECOND
        for name in names
    }
    is_over = age_s["view"] > market.click_wait
    outcomes[:, CLICK] = np.where(is_there["click"], _YES, np.where(is_over, _NO, 0.0))
    windows_s = [float(group.line.click_window_s or 0) for group in market.groups.groups]
    for head, since, until, waiting in (
        (CONVERSATION, "click", "conversation", market.talks),
        (SPAM, "conversation", "spam", market.spam),
        (LEAD, "conversation", "lead", market.leads),
    ):
        edges = np.searchsorted(np.array(EDGES_S), age_s[since], side="right") - 1
        shares = waiting.shares_by_edge(windows_s)[groups, np.maximum(edges, 0)]
        is_asked[:, head] = is_there[since] & is_there["click"]
        outcomes[:, head] = np.where(is_there[until], _YES, np.where(edges < 0, 0.0, shares))
    outcomes[is_there["spam"], LEAD] = _NO
    outcomes[~is_asked] = 0.0
    return outcomes, is_asked


def map_batches(batches: Iterable[Batch], folder: Path) -> tuple[Observed, Snapshots]:
    """Write the arrays of batches to files, one behind the other, and map the files into memory."""
    folder.mkdir()
    paths: dict[str, Path] = {}
    last: dict[str, NDArray[Any]] = {}
    for batch in batches:
        last = {name: getattr(batch.features, name) for name in SNAPSHOT_ARRAYS} | batch.observed._asdict()
        for name, array in last.items():
            paths[name] = folder / name
            with paths[name].open("ab") as file:
                array.tofile(file)
    features = Snapshots()
    mapped = {
        name: np.asarray(np.memmap(path, last[name].dtype, "r+")).reshape(-1, *last[name].shape[1:])
        if path.stat().st_size
        else last[name]
        for name, path in paths.items()
    }
    for name in SNAPSHOT_ARRAYS:
        setattr(features, name, mapped[name])
    mapped["samples"][:, 0] = np.arange(len(mapped["samples"]))
    return Observed(mapped["samples"], mapped["outcomes"]), features


def learn_pass(market: Market, observed: Observed, features: Snapshots, seed: int) -> float:
    """Let all examples agree with the others, in a random order; return how much they moved."""
    count, before = len(observed.samples), features.held.copy()
    blocks = np.arange(-(-count // BLOCK))
    shuffle(blocks, np.uint64(seed))
    order = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
    order = order[order < count]
    for start in range(0, count, WINDOW):
        shuffle(order[start : start + WINDOW], np.uint64(seed + start))
    let_agree(market, observed, features, order, _NO_FARMS)
    return float(np.abs(features.held - before).mean()) if count else 0.0


def predict_batch(market: Market, batch: Batch) -> Floats:
    """Return predictions by the weights that are being learned, by example and head."""
    yes = batch.observed._replace(outcomes=np.full_like(batch.observed.outcomes, _YES))
    return 1.0 - tell_missed(market, yes, batch.features, np.ones_like(batch.features.shares))


def weights_of(market: Market) -> Weights:
    """Return the weights that were learned again, without those that nothing has moved."""
    learned, viewers = market.learned, market.viewers
    slots, rows = (np.flatnonzero(table.any(axis=1)) for table in (learned.again, viewers.again))
    names = list(viewers.by_id)
    return Weights(
        slots.tobytes(), learned.again[slots].tobytes(), [names[row] for row in rows],
        viewers.again[rows].tobytes(),
    )  # fmt: skip


def lay_over(market: Market, weights: Weights) -> None:
    """Put weights that were learned again in place of those of a marketplace, which goes on from them.

    Variances stay, and weights without one are left out. The amounts that snapshots hold are set to agree
    with the new weights.

    Raises:
        ValueError: one of them is no number.
    """
    learned, viewers = market.learned, market.viewers
    slots = np.frombuffer(weights.slots, np.int64)
    means, effects = (
        np.frombuffer(raw, np.float32).reshape(-1, HEADS_AGAIN) for raw in (weights.means, weights.effects)
    )
    if not (np.isfinite(means).all() and np.isfinite(effects).all()):
        raise ValueError("a weight that was learned is no number")
    is_seen = learned.family_of[slots] != FAMILIES
    learned.table[slots[is_seen], MEANS_AGAIN] = learned.again[slots[is_seen]] = means[is_seen]
    for name, effect in zip(weights.viewers, effects, strict=True):
        row = viewers.by_id.get(name)
        if row is not None:
            viewers.table[row, V_EFFECT + FIRST_AGAIN : V_EFFECT + FIRST_AGAIN + HEADS_AGAIN] = effect
            viewers.again[row] = effect
    kept = market.snapshots
    observed = observe(list_kept(market, len(market.records.shown)))
    if len(observed.samples):
        kept.held[observed.samples[:, 0]] = tell_missed(market, observed, kept, np.ones_like(kept.shares))
