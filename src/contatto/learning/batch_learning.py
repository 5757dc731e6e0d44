"""Learning again from kept impressions, and from files of examples at night."""

from bisect import bisect_left
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning.budgets import SECOND
from contatto.learning.calibration import EDGES_S, fit_slope
from contatto.learning.columns import (
    A_GROUP,
    BETWEEN,
    CLICK,
    CONVERSATION,
    F_VIEWER,
    FAMILIES,
    FIRST_AGAIN,
    G_GOAL,
    HEADS,
    HEADS_AGAIN,
    LEAD,
    MOST_CONTEXT,
    S_FARM_PRIOR,
    S_VIEWER_MEAN,
    S_VIEWER_SLOPE,
    SPAM,
    STACKED,
    V_EFFECT,
)
from contatto.learning.features import said_by
from contatto.learning.impressions import SNAPSHOT_ARRAYS, Impression, Snapshots
from contatto.learning.learner import fill_residuals, learn_again, shuffle
from contatto.learning.market import MEANS_AGAIN, Learned, MarketState

HALF_LIFE_S: Final = 12 * 3_600.0
"""After so much time a view counts half."""
LONGEST_S: Final = 72 * 3_600.0
"""What is older takes no part."""
SLOPE_VIEWS: Final = 6_000
"""So many of the newest views take part."""
SLOPE_LEADS: Final = 5
"""Before so many leads nothing is changed."""
_LEAST: Final = 1e-12
_VIEWER: Final = HEADS + 1
"""Where ``raw`` has what the viewer is worth."""


def weigh_boldness(market: MarketState, kept: Sequence[Impression]) -> None:
    """Hold what was expected of viewers against the leads that came: how far are they believed now?

    ``kept`` are views of which something is known, in the order of time.
    """
    first = bisect_left(kept, market.now - int(LONGEST_S * SECOND), key=lambda shown: shown.asked_at)
    wants_leads = (market.groups.table[:, G_GOAL] == 0.0).tolist()
    first = max(first, len(kept) - SLOPE_VIEWS)
    seen = [each for each in kept[first:] if wants_leads[each.group] and len(each.raw) > _VIEWER]
    came = np.array([bool(each.lead_at and not each.spam_at) for each in seen], np.float64)
    if came.sum() < SLOPE_LEADS:
        return
    age_s = (market.now - np.array([each.asked_at for each in seen])) / SECOND
    counts = 0.5 ** (age_s / HALF_LIFE_S)
    late = market.leads.shares_by_edge(
        [float(group.line.click_window_s or 0) for group in market.groups.groups]
    )
    edge = np.searchsorted(np.array(EDGES_S), age_s, side="right") - 1
    by_now = np.where(edge < 0, 0.0, late[[each.group for each in seen], np.maximum(edge, 0)])
    counts *= np.where(came > 0.0, 1.0, by_now)
    stands_for = market.snapshots.stands_for[[each.place for each in seen]].astype(np.float64)
    worth = np.prod([[each.p[head] for head in (CLICK, CONVERSATION, LEAD)] for each in seen], axis=1)
    scores = np.array([each.raw[_VIEWER] for each in seen])
    expected = np.maximum(counts * stands_for * worth, _LEAST)
    slope, mean = fit_slope(scores, expected, counts * came)
    market.numbers[S_VIEWER_SLOPE], market.numbers[S_VIEWER_MEAN] = slope, mean


type Numbers = NDArray[Any]

ROUNDS: Final = 2
"""So often each observation is gone through at a time; each time goes on from the one before."""
SLICE: Final = 400
"""So many observations are gone through at once."""
MOST: Final = 120_000
"""So many of the newest clicks, and of the views that are kept beside them, take part."""
FEW: Final = 20
"""Before so many clicks there is nothing to learn again."""
EVERY_S: Final = 6 * 3_600
"""So often all is learned again, …"""
MORE: Final = 1.3
"""… and when there are so many times the clicks of the time before: at first what is learned ages fast."""
_YES: Final = -1.0
_NO: Final = 1.0


def is_time_to_relearn(market: MarketState) -> bool:
    """Return whether enough time has passed, or enough has come."""
    is_old = market.now - market.relearned_at >= EVERY_S * SECOND
    return is_old or _count_clicks(market) >= max(MORE * market.clicks_then, FEW)


def _count_clicks(market: MarketState) -> int:
    return sum(group.clicks for group in market.groups.groups)


def relearn_market(market: MarketState) -> None:
    """Find the likeliest weights for all observations that are kept, and go on from these."""
    for _ in relearn_in_slices(market):
        pass


def relearn_in_slices(market: MarketState) -> Generator[None]:
    """Do what `relearn_market` does in slices of some milliseconds, so that no decision waits for it."""
    market.relearned_at, market.clicks_then = market.now, _count_clicks(market)
    kept = list_kept(market, MOST)
    yield
    weigh_boldness(market, kept)
    yield
    order = np.arange(len(kept))
    for turn in range(ROUNDS):
        shuffle(order, np.uint64(market.seed + turn))
        for start in range(0, len(order), SLICE):
            some = [kept[i] for i in order[start : start + SLICE].tolist()]
            observed = observe([impression for impression in some if impression.place >= 0])
            places, farm_prior = np.arange(len(observed.samples)), float(market.numbers[S_FARM_PRIOR])
            let_agree(market, observed, market.snapshots, places, farm_prior)
            yield
    learned, viewers = market.learned, market.viewers
    used = np.flatnonzero(learned.family_of != FAMILIES)
    learned.table[used, MEANS_AGAIN] = learned.again[used]
    viewers.table[:, V_EFFECT + FIRST_AGAIN : V_EFFECT + FIRST_AGAIN + HEADS_AGAIN] = viewers.again


def let_agree(
    market: MarketState, observed: "Observed", features: Snapshots, order: Numbers, farm_prior: float
) -> None:
    """Let observations agree with all others, one after the other in an order.

    ``farm_prior`` is the log-odds of a click farm before any evidence, see `farms`.
    """
    if not len(order):
        return
    learned, groups = market.learned, market.groups
    learn_again(
        order, observed.samples, observed.outcomes, features.hashes, features.values, features.kinds,
        features.between, features.counts, features.held, features.stacks, features.shares,
        features.stands_for, groups.ads, groups.ad_hashes, groups.ad_features, groups.ad_values,
        groups.feature_hashes, groups.crosses, learned.shift, learned.slots, learned.weights,
        learned.families, learned.alike(), learned.spread[F_VIEWER], market.viewers.table,
        farm_prior, learned.again, market.viewers.again,
    )  # fmt: skip


def list_kept(market: MarketState, most: int) -> list[Impression]:
    """The newest views of which something is known and whose features are kept, in the order of time."""
    return [holder for holder in market.snapshots.holders.values() if holder.clicked_at or holder.is_settled][
        -most:
    ]


class Observed(NamedTuple):
    """Place, ad and viewer of each view, and its outcomes by head (see `slope_of`)."""

    samples: Numbers
    outcomes: Numbers


def observe(impression: Sequence[Impression]) -> Observed:
    """Return samples and outcomes of views with features in memory."""
    return Observed(
        np.array([(each.place, each.ad, each.viewer) for each in impression], np.int64),
        np.array([labels_of(each) for each in impression]),
    )


def measure_residuals(
    market: MarketState, observed: Observed, features: Snapshots, shares: Numbers
) -> Numbers:
    """Return what the weights miss of each observation, by head.

    ``shares`` is how much of an observation the shared weights may take, by place.
    """
    learned, groups = market.learned, market.groups
    missed = np.zeros(observed.outcomes.shape)
    fill_residuals(
        observed.samples, observed.outcomes, features.hashes, features.values, features.kinds,
        features.between, features.counts, features.stacks, shares, features.stands_for, groups.ads,
        groups.ad_hashes, groups.ad_features, groups.ad_values, groups.feature_hashes, groups.crosses,
        learned.shift, learned.slots, learned.weights, learned.families, learned.again, market.viewers.again,
        missed,
    )  # fmt: skip
    return missed


def labels_of(impression: Impression) -> tuple[float, ...]:
    """What is known of a view, by head: see `slope_of`. A spam chat is one that no lead came of."""
    found = [0.0] * HEADS
    if impression.is_settled:
        found[CLICK] = _YES if impression.clicked_at else _NO
    if not impression.clicked_at:
        return tuple(found[MEANS_AGAIN])
    found[CONVERSATION] = _YES if impression.talked_at else impression.waited_talk
    if impression.talked_at:
        found[SPAM] = _YES if impression.spam_at else impression.waited_spam
        is_lead = _YES if impression.lead_at else impression.waited_lead
        found[LEAD] = _NO if impression.spam_at else is_lead
    return tuple(found[MEANS_AGAIN])


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


def forget_weights(market: MarketState) -> None:
    """Reset the weights of all heads that are learned again to their prior means."""
    market.learned.again[:] = Learned(market.learned.bits).again
    market.viewers.again[:] = 0.0


def batch_of(market: MarketState, columns: dict[str, Any], as_of_ts: int) -> Batch:
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
    market: MarketState, columns: dict[str, Any], groups: Ints, as_of_ts: int
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


def learn_pass(market: MarketState, observed: Observed, features: Snapshots, seed: int) -> float:
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


def predict_batch(market: MarketState, batch: Batch) -> Floats:
    """Return predictions by the weights that are being learned, by example and head."""
    yes = batch.observed._replace(outcomes=np.full_like(batch.observed.outcomes, _YES))
    return 1.0 - measure_residuals(market, yes, batch.features, np.ones_like(batch.features.shares))


def weights_of(market: MarketState) -> Weights:
    """Return the weights that were learned again, without those that nothing has moved."""
    learned, viewers = market.learned, market.viewers
    slots, rows = (np.flatnonzero(table.any(axis=1)) for table in (learned.again, viewers.again))
    names = list(viewers.by_id)
    return Weights(
        slots.tobytes(), learned.again[slots].tobytes(), [names[row] for row in rows],
        viewers.again[rows].tobytes(),
    )  # fmt: skip


def apply_weights(market: MarketState, weights: Weights) -> None:
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
        kept.held[observed.samples[:, 0]] = measure_residuals(
            market, observed, kept, np.ones_like(kept.shares)
        )
