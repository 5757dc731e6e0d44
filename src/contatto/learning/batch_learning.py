"""Batch training of weights on stored impressions, and at night on files of examples."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning import columns as col
from contatto.learning.impressions import EDGES_S, SNAPSHOT_ARRAYS, Impression, Snapshots
from contatto.learning.learner import WIDENED, fill_residuals, settle_all, shuffle
from contatto.learning.market import Learned, MarketState
from contatto.learning.model import Quality

type Floats = NDArray[np.float64]

SLOPE_HALF_LIFE_S: Final = 24 * 3_600.0
"""Half-life of the weight of a view in the calibration slopes."""
SLOPE_TRUST: Final = 20.0
"""Precision of the prior slope of 1."""
SLOPES: Final = (0.1, 1.5)
"""Bounds of a calibration slope."""
_SLOPE_STEPS: Final = 6


def fit_slope(scores: Floats, outcomes: Floats, counts: Floats) -> tuple[float, float]:
    """Fit the calibration slope of predictions (Cox 1958); return it with the score that it leaves unchanged.

    Weights fit their own observations too well, so later outcomes differ less than predictions, above all
    while there are few. ``scores`` are log-odds, ``outcomes`` 0 or 1, ``counts`` weights.
    """
    p = 1.0 / (1.0 + np.exp(-scores))
    precision = counts * p * (1.0 - p)
    mean = float((precision * scores).sum() / max(precision.sum(), 1e-9))
    away, level, slope = scores - mean, 0.0, 1.0
    for _ in range(_SLOPE_STEPS):
        p = 1.0 / (1.0 + np.exp(-(mean + level + slope * away)))
        precision, rest = counts * p * (1.0 - p), counts * (outcomes - p)
        flat, tilt = precision.sum() + 1e-6, (precision * away).sum()
        bend = (precision * away**2).sum() + SLOPE_TRUST
        rise, turn = rest.sum(), (rest * away).sum() - SLOPE_TRUST * (slope - 1.0)
        width = flat * bend - tilt * tilt
        level += float(np.clip((bend * rise - tilt * turn) / width, -1.0, 1.0))
        slope += float(np.clip((flat * turn - tilt * rise) / width, -0.5, 0.5))
    return float(np.clip(slope, *SLOPES)), mean


type Numbers = NDArray[Any]

SLICE: Final = 400
"""Observations per slice."""
MOST: Final = 120_000
"""Newest observations in the training set."""
FEW: Final = 20
"""Clicks before the first training."""
EVERY_S: Final = 3_600
"""Longest time between two trainings."""
MOST_OLD: Final = 30_000
"""Most observations without a new outcome in a training, drawn by lot, …"""
MOST_OLD_PER_NEW: Final = 40
"""… and most of them per observation with one."""
PASSES: Final = 2
"""Passes over the observations of a training; a changed prior counts from the second one."""
MORE: Final = 1.3
"""Growth of clicks that starts a training earlier, as weights change fast at first."""
YES: Final = -1.0
NO: Final = 1.0
"""Labels, as in `slope_of`: 0 is none, and those between 0 and 1 are censored."""


def is_time_to_relearn(market: MarketState) -> bool:
    is_old = market.now - market.relearned_at >= EVERY_S * col.SECOND
    clicks = sum(group.clicks for group in market.groups.groups)
    return is_old or clicks >= max(MORE * market.clicks_then, FEW)


def relearn_in_slices(market: MarketState) -> Generator[None]:
    """Move the weights towards their maximum a posteriori fit to all stored observations.

    It runs in slices of milliseconds, so that no decision waits. Each training continues from the weights of
    the last one. It fits all observations with new outcomes and some old ones, so that its cost does not
    grow with their number.
    """
    market.relearned_at = market.now
    market.clicks_then = sum(group.clicks for group in market.groups.groups)
    labelled = list_labelled(market, MOST)
    yield
    scale = context_scale(market.snapshots, labelled[-NEWEST:])
    if scale != market.learned.scale:
        market.learned.scale_context(scale)
    yield
    order, decisions = np.arange(len(labelled)), list[Numbers]()
    shuffle(order, np.uint64(market.seed + market.now))
    is_new = np.array([impression.is_new for impression in labelled], np.bool_)[order]
    new, old = order[is_new], order[~is_new]
    sample = old[: min(MOST_OLD, MOST_OLD_PER_NEW * max(len(new), 1))]
    stands_for = len(old) / max(len(sample), 1)
    parts = [
        ([labelled[i] for i in part[start : start + SLICE].tolist()], weight)
        for part, weight in ((new, 1.0), (sample, stands_for))
        for start in range(0, len(part), SLICE)
    ]
    yield
    observed, curves = list[Observations](), no_curves(market.learned)
    for turn in range(PASSES):
        for number, (rows, weight) in enumerate(parts):
            if turn == 0:
                rows[:] = [impression for impression in rows if impression.place >= 0]
                observed.append(observe(market, rows))
                for impression in rows:
                    impression.is_new = False
            if turn == 0 and rows:  # scores at the decision, labels and weights by head
                outcomes = observed[number].outcomes
                raw = np.array([row.raw[: col.HEADS] for row in rows]).clip(1e-9, 1.0 - 1e-9)
                age_s = (market.now - np.array([row.asked_at for row in rows])) / col.SECOND
                counts = np.where(outcomes < 0.0, 1.0, outcomes)
                counts[:, col.CLICK] *= market.snapshots.stands_for[[row.place for row in rows]]
                counts *= weight * (0.5 ** (age_s / SLOPE_HALF_LIFE_S))[:, None]
                decisions.append(np.array([np.log(raw) - np.log1p(-raw), outcomes, counts]))
            usable = np.flatnonzero([impression.place >= 0 for impression in rows])
            settle_observations(market, observed[number], market.snapshots, usable, curves, weight)
            yield
        if turn == 0:
            widen_priors(market.learned, curves, ENOUGH_CURVATURE * max(stands_for, 1.0))
            yield
    if decisions:
        scores, labels, counts = np.concatenate(decisions, axis=1)
        fits = []
        for head in range(col.BAD):  # too few leads are unqualified for a slope
            has_label = labels[:, head] != 0.0
            fits.append(
                fit_slope(scores[has_label, head], labels[has_label, head] < 0.0, counts[has_label, head])
            )
            yield
        slopes, means = np.array(fits).T
        # A winner is predicted too high by chance, which lowers all slopes; so only their ratios count.
        market.numbers[col.S_SLOPE :][: col.BAD] = slopes / slopes.max()
        market.numbers[col.S_MEAN :][: col.BAD] = means
    learned, viewers = market.learned, market.viewers
    used = np.flatnonzero(learned.family_of != col.FAMILIES)
    learned.table[used] = learned.draft[used]
    viewers.table[:, col.V_EFFECT : col.V_EFFECT + col.HEADS] = viewers.draft


NEWEST: Final = 1_000
"""Impressions that tell how many features a request has."""
ENOUGH_FEATURES: Final = 6.0
"""Features of a request from which on their prior variance is the usual one."""
MANY_FEATURES: Final = 10.0
"""Features of a request from which on it is smaller, as most of them may tell nothing."""
MOST_SCALE: Final = 3.0
"""Upper bound of the scale of prior variances."""


def context_scale(snapshots: Snapshots, impressions: Sequence[Impression]) -> float:
    """Return the scale of prior variances at which requests with few or many features vary alike."""
    if not impressions:
        return 1.0
    rows = [impression.place for impression in impressions]
    is_context = (snapshots.kinds[rows] == col.CONTEXT) & (
        np.arange(col.MOST_CONTEXT) < snapshots.counts[rows, None]
    )
    features = max(float((snapshots.values[rows] ** 2 * is_context).sum()) / len(rows), 1.0)
    return min(max(ENOUGH_FEATURES / features, 1.0), MOST_SCALE, MANY_FEATURES / features)


STRONG: Final = {col.F_CONTEXT: 8.0, col.F_HISTORY: 8.0, col.F_CONTACT: 2.0}
"""Log-evidence from which a prior widens, by family: less where there are few weights."""
ENOUGH_CURVATURE: Final = 1.0
"""Least curvature for a change of a prior: that of some five conversations in a training."""
MOST_DOUBLINGS: Final = 4
"""Most doublings of a prior standard deviation."""
DOUBLINGS_AT_ONCE: Final = 2
"""Most doublings per round, as a weight moves with its prior until the next round corrects it."""
_WORSE: Final = np.array([0.0, -1.0, -1.0, 1.0, 0.0])
"""Sign of the weights that lower the value of a view, by head; 0: a click alone does not."""


def widen_priors(learned: Learned, curves: Numbers, least: float) -> None:
    """Widen the prior of weights that expose click farms, or people who do not become a lead twice.

    Hardly any conversation of a network or of new accounts may be genuine, which the usual prior excludes.
    The prior variance of such a weight becomes the one of most evidence (MacKay 1992, evidence
    approximation), if that has `STRONG` more than the usual one. Only weights that lower the value of a view
    widen: an auction would choose the errors of those that raise it. ``curves`` are curvatures of the
    log-likelihood by slot and head; below ``least`` a prior stays as it is.
    """
    for family in WIDENED:
        slots = np.flatnonzero(learned.family_of == family)
        before = learned.widths[slots].astype(np.int64)
        usual = learned.spread[family]
        weights, curve = learned.draft[slots].astype(np.float64), np.maximum(curves[slots], 1e-9)
        pull = weights / (usual * 4.0**before) + curve * weights  # slope of the log-likelihood at 0
        best = np.maximum((pull / curve) ** 2 - 1.0 / curve, usual)
        gain = log_evidence(pull, curve, best) - log_evidence(pull, curve, usual)
        is_wide = (gain > STRONG[family]) & (pull * _WORSE > 0.0)
        after = np.where(is_wide, np.log2(best / usual) / 2.0, 0.0).astype(np.int64).clip(0, MOST_DOUBLINGS)
        after = after.clip(before - DOUBLINGS_AT_ONCE, before + DOUBLINGS_AT_ONCE)
        after = np.where(curves[slots] < least, before, after)
        learned.draft[slots] *= 4.0 ** (after - before)
        learned.widths[slots] = after


def no_curves(learned: Learned) -> Numbers:
    """Return curvatures of 0 by slot and head; with `np.zeros_like` unused pages would take memory."""
    return np.zeros(learned.draft.shape, np.float32)


def log_evidence(pull: Floats, curve: Floats, variance: Floats) -> Floats:
    """Return the log-evidence of a prior variance, up to a constant, for a quadratic log-likelihood."""
    return np.asarray(0.5 * (pull**2 / (curve + 1.0 / variance) - np.log1p(curve * variance)))


def settle_observations(
    market: MarketState, observations: "Observations", features: Snapshots, order: Numbers,
    curves: Numbers, weight: float = 1.0,
) -> None:  # fmt: skip
    """Fit the weights to observations in this order, and add the curvature of their log-likelihood.

    Each observation adds ``weight`` times its curvature to ``curves``, by slot and head.
    """
    if not len(order):
        return
    learned, groups = market.learned, market.groups
    settle_all(
        order, observations.samples, observations.outcomes, features.hashes, features.values, features.kinds,
        features.between, features.counts, features.held, features.shares,
        features.stands_for, groups.ads, groups.ad_hashes, groups.ad_features, groups.ad_values,
        groups.feature_hashes, groups.crosses, learned.shift, learned.slots, learned.weights,
        learned.families, learned.family_of, learned.prior_covariances(), learned.spread[col.F_VIEWER],
        market.viewers.table, float(market.numbers[col.S_FARM_PRIOR]), learned.draft, market.viewers.draft,
        learned.widths, curves, weight,
    )  # fmt: skip


def list_labelled(market: MarketState, most: int) -> list[Impression]:
    """Return the newest impressions with a label and a feature snapshot, in order of time."""
    holders = market.snapshots.holders.values()
    return [impression for impression in holders if impression.clicked_at or impression.is_settled][-most:]


class Observations(NamedTuple):
    """Snapshot row, ad and viewer of each view, and its labels by head (see `slope_of`)."""

    samples: Numbers
    outcomes: Numbers


def observe(market: MarketState, impressions: Sequence[Impression]) -> Observations:
    """Return samples and labels of impressions with feature snapshots."""
    return Observations(
        np.array([(item.place, item.ad, item.viewer) for item in impressions], np.int64),
        np.array([labels_of(market, impression) for impression in impressions]),
    )


def measure_residuals(
    market: MarketState, observations: Observations, features: Snapshots, shares: Numbers
) -> Numbers:
    """Return the residuals of observations by head; ``shares`` are their weights by snapshot row."""
    learned, groups = market.learned, market.groups
    residuals = np.zeros(observations.outcomes.shape)
    fill_residuals(
        observations.samples, observations.outcomes, features.hashes, features.values, features.kinds,
        features.between, features.counts, shares, features.stands_for, groups.ads,
        groups.ad_hashes, groups.ad_features, groups.ad_values, groups.feature_hashes, groups.crosses,
        learned.shift, learned.slots, learned.weights, learned.families, learned.draft, market.viewers.draft,
        residuals,
    )  # fmt: skip
    return residuals


def labels_of(market: MarketState, impression: Impression) -> tuple[float, ...]:
    """Return the labels of an impression by head (see `slope_of`); spam counts as no lead.

    A missing label weighs by the share of late ones that arrive by its age, as label delays are known now.
    """
    labels = [0.0] * col.HEADS
    if impression.is_settled:
        labels[col.CLICK] = YES if impression.clicked_at else NO
    if not impression.clicked_at:
        return tuple(labels)
    group, window_s = impression.group, market.groups.groups[impression.group].line.click_window_s or 0
    since_click_s, since_talk_s = (
        (market.now - at) / col.SECOND for at in (impression.clicked_at, impression.talked_at)
    )
    no_talk = market.talks.share_at(group, since_click_s, window_s)
    labels[col.CONVERSATION] = YES if impression.talked_at else no_talk
    if impression.talked_at:
        no_spam = market.spam.share_at(group, since_talk_s, window_s)
        no_lead = NO if impression.spam_at else market.leads.share_at(group, since_talk_s, window_s)
        labels[col.SPAM] = YES if impression.spam_at else no_spam
        labels[col.LEAD] = YES if impression.lead_at and not impression.spam_at else no_lead
        labels[col.BAD] = YES if impression.spam_at and impression.lead_at else impression.bad
    return tuple(labels)


type Ints = NDArray[np.int64]

VIEWS_A_DAY: Final = 60.0
"""Views per day above which a viewer weighs less in shared parameters."""
CLICKS_A_DAY: Final = 4.0
"""Clicks per day above which a viewer weighs less in shared parameters."""
BLOCK: Final = 16
"""Adjacent examples that are read together."""
WINDOW: Final = 32_768
"""Examples per window that is shuffled in memory."""
_NO_FARMS: Final = -100.0
"""Prior that trusts all viewers: evidence of later days must not affect earlier ones."""


class Weights(msgspec.Struct, frozen=True):
    """Weights by slot, and viewers' effects, as bytes of arrays."""

    slots: bytes
    means: bytes
    viewers: list[str]
    effects: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Batch of examples from a file, with times and predictions (by head) of their decisions.

    ``is_asked`` marks the examples that count for a head.
    """

    observed: Observations
    features: Snapshots
    times: Ints
    predictions: Floats
    is_asked: NDArray[np.bool_]


def batch_of(market: MarketState, columns: dict[str, Any], as_of_ts: int) -> Batch:
    """Turn columns of examples into a batch, without unknown ads and erased persons; add their viewers."""
    groups = market.groups
    ad_rows = {int(ad): row for row, ad in enumerate(groups.ad_ids)}
    ads = np.array([ad_rows.get(int(ad), -1) for ad in columns["ad"]], np.int64)
    is_whole = np.array([len(hashes) == col.BETWEEN for hashes in columns["between"]], np.bool_)
    usable = np.flatnonzero((ads >= 0) & is_whole)
    ads, columns = ads[usable], {name: column[usable] for name, column in columns.items()}
    viewers = [market.viewers.row_of(str(name), 0.0) for name in columns["user_id"]]
    outcomes, is_asked = _outcomes_of(
        market, columns, groups.ads[ads, col.A_GROUP].astype(np.int64), as_of_ts
    )
    samples = np.array([np.arange(len(ads)), ads, viewers], np.int64).T.copy()
    features = Snapshots()
    features.counts = np.array([len(hashes) for hashes in columns["hashes"]], np.int64)
    is_filled = np.arange(col.MOST_CONTEXT) < features.counts[:, None]
    for name, lists in (
        ("hashes", columns["hashes"]),
        ("values", columns["weights"]),
        ("kinds", columns["kinds"]),
    ):
        rows = np.zeros(is_filled.shape, getattr(features, name).dtype)
        if len(lists):
            rows[is_filled] = np.concatenate(lists).astype(rows.dtype)
        setattr(features, name, rows)
    features.between = np.array(list(columns["between"])).astype(np.uint64).reshape(-1, col.BETWEEN)
    features.held = np.zeros((len(is_filled), col.HEADS), np.float32)
    features.stands_for = np.ones(len(is_filled), np.float32)
    views = VIEWS_A_DAY / np.maximum(np.asarray(columns["views_day"], np.float64), VIEWS_A_DAY)
    clicks = CLICKS_A_DAY / np.maximum(np.asarray(columns["clicks_day"], np.float64), CLICKS_A_DAY)
    features.shares = np.minimum(views, clicks).astype(np.float32)
    return Batch(
        Observations(samples, outcomes), features, np.asarray(columns["ts"], np.int64),
        np.array(list(columns["p"])).astype(np.float64).reshape(-1, col.HEADS), is_asked,
    )  # fmt: skip


def _outcomes_of(
    market: MarketState, columns: dict[str, Any], groups: Ints, as_of_ts: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the label of each example by head (see `slope_of`), and the examples that count for a head."""
    outcomes = np.zeros((len(groups), col.HEADS))
    is_asked = np.ones(outcomes.shape, np.bool_)
    names = ("view", "click", "conversation", "lead", "spam")
    is_there = {name: ~np.ma.getmaskarray(columns[f"{name}_ts"]) for name in names}
    age_s = {
        name: (as_of_ts - np.asarray(np.ma.filled(columns[f"{name}_ts"], 0), np.int64)) / col.SECOND
        for name in names
    }
    is_over = age_s["view"] > market.click_wait
    outcomes[:, col.CLICK] = np.where(is_there["click"], YES, np.where(is_over, NO, 0.0))
    windows_s = [float(group.line.click_window_s or 0) for group in market.groups.groups]
    for head, since, until, delays in (
        (col.CONVERSATION, "click", "conversation", market.talks),
        (col.SPAM, "conversation", "spam", market.spam),
        (col.LEAD, "conversation", "lead", market.leads),
    ):
        edges = np.searchsorted(np.array(EDGES_S), age_s[since], side="right") - 1
        shares = delays.shares_by_edge(windows_s)[groups, np.maximum(edges, 0)]
        is_asked[:, head] = is_there[since] & is_there["click"]
        outcomes[:, head] = np.where(is_there[until], YES, np.where(edges < 0, 0.0, shares))
    outcomes[is_there["spam"], col.LEAD] = NO
    quality = np.ma.filled(columns["quality"], "")
    is_bad = (quality == Quality.UNQUALIFIED) | is_there["spam"]
    outcomes[:, col.BAD] = np.where(is_bad, YES, np.where(quality != "", NO, 0.0))
    is_asked[:, col.BAD] = is_there["lead"]
    outcomes[~is_asked] = 0.0
    return outcomes, is_asked


def map_batches(batches: Iterable[Batch], folder: Path) -> tuple[Observations, Snapshots]:
    """Append the arrays of batches to files, and map the files into memory."""
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
    return Observations(mapped["samples"], mapped["outcomes"]), features


def learn_pass(market: MarketState, observations: Observations, features: Snapshots, seed: int) -> float:
    """Fit the weights to all examples in a random order; return the mean change of their dual amounts."""
    count, before = len(observations.samples), features.held.copy()
    blocks = np.arange(-(-count // BLOCK))
    shuffle(blocks, np.uint64(seed))
    order = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
    order = order[order < count]
    for start in range(0, count, WINDOW):
        shuffle(order[start : start + WINDOW], np.uint64(seed + start))
    market.numbers[col.S_FARM_PRIOR] = _NO_FARMS
    settle_observations(market, observations, features, order, no_curves(market.learned))
    return float(np.abs(features.held - before).mean()) if count else 0.0


def weights_of(market: MarketState) -> Weights:
    """Return the weights of a run on files that are not zero."""
    learned, viewers = market.learned, market.viewers
    slots, rows = (np.flatnonzero(table.any(axis=1)) for table in (learned.draft, viewers.draft))
    names = list(viewers.by_id)
    return Weights(
        slots.tobytes(), learned.draft[slots].tobytes(), [names[row] for row in rows],
        viewers.draft[rows].tobytes(),
    )  # fmt: skip


def apply_weights(market: MarketState, weights: Weights) -> None:
    """Replace the weights of a marketplace by those of a run on files.

    Weights that the marketplace has not trained are ignored. The dual amounts of stored impressions are set
    to agree with the new weights. Raises ValueError: a weight is no number.
    """
    learned, viewers = market.learned, market.viewers
    slots = np.frombuffer(weights.slots, np.int64)
    means, effects = (
        np.frombuffer(raw, np.float32).reshape(-1, col.HEADS) for raw in (weights.means, weights.effects)
    )
    if not (np.isfinite(means).all() and np.isfinite(effects).all()):
        raise ValueError("a weight that was learned is no number")
    is_used = learned.family_of[slots] != col.FAMILIES
    learned.table[slots[is_used]] = learned.draft[slots[is_used]] = means[is_used]
    for name, effect in zip(weights.viewers, effects, strict=True):
        row = viewers.by_id.get(name)
        if row is not None:
            viewers.table[row, col.V_EFFECT : col.V_EFFECT + col.HEADS] = effect
            viewers.draft[row] = effect
    snapshots = market.snapshots
    observations = observe(market, list_labelled(market, len(market.records.shown)))
    if len(observations.samples):
        snapshots.held[observations.samples[:, 0]] = measure_residuals(
            market, observations, snapshots, np.ones_like(snapshots.shares)
        )
