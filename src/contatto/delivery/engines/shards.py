"""A shard of viewers: reads its examples once, and tells slopes, bends and estimates at given weights.

Tasks are plain functions of a folder and an argument, so that they run here or on any machine. What a shard
has read stays in the memory of the process that read it; another process reads it again.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contatto.delivery.rules.columns import (
    BETWEEN,
    CLICK,
    CONVERSATION,
    FAMILIES,
    HEADS,
    HEADS_AGAIN,
    LEAD,
    SPAM,
    STACKED,
)
from contatto.delivery.rules.describing import said_by
from contatto.delivery.rules.learner import logistic
from contatto.delivery.rules.summing import add_slopes, end_of_weights, list_rows

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_KEPT: Final = 16
_YES: Final = -1.0
_NO: Final = 1.0
_SECOND: Final = 1e6
_NO_EFFECT: Final = np.zeros(HEADS_AGAIN)
_COLUMNS: Final = (
    "user_id, ts, ad, p, raw, hashes, weights, kinds, between, view_ts, click_ts, conversation_ts, lead_ts,"
    " spam_ts, views_day, clicks_day"
)


@dataclass(frozen=True)
class Ads:
    """The ads of a model, as kernels know them; ``places`` are their rows by the API's numbers."""

    places: dict[int, int]
    groups: Ints
    table: NDArray[Any]
    hashes: NDArray[Any]
    features: NDArray[Any]
    values: NDArray[Any]
    feature_hashes: NDArray[Any]
    crosses: NDArray[Any]


@dataclass(frozen=True)
class Terms:
    """What a shard has to know besides its examples.

    ``late`` is the share of labels that have come by each age of ``edges_s``, by head, ad group and age. A
    view without a click counts as such ``click_wait_us`` after it. From ``views_a_day`` and ``clicks_a_day``
    on a viewer counts less and less.
    """

    ads: Ads
    as_of_ts: int
    shift: int
    viewer_spread: Floats
    late: dict[int, Floats]
    edges_s: Floats
    click_wait_us: int
    views_a_day: float
    clicks_a_day: float
    most_weights: int


@dataclass(frozen=True)
class Opened:
    """The weights that take part in a shard, by slot, with their families, and how many examples it has."""

    slots: Ints
    families: Ints
    examples: int


@dataclass(frozen=True)
class Sums:
    """Losses by head, and slopes and bends of the weights that take part, by head."""

    losses: Floats
    slopes: Floats
    bends: Floats


@dataclass(frozen=True)
class Asked:
    """Which examples are to be estimated, those of decisions of a span, at given weights and effects."""

    terms: Terms
    from_ts: int
    until_ts: int
    means: Floats
    effects: Mapping[str, Floats]


@dataclass(frozen=True)
class Estimated:
    """What is estimated of examples, what was told of them at the time, and what came; -1 if nobody asked."""

    estimates: Floats
    told: Floats
    came: Floats


@dataclass
class _Rows:
    """Examples whose weights are listed: those of one viewer together, those of nobody first."""

    opened: Opened
    times: Ints
    offsets: Ints
    slots: Ints
    weights: Floats
    came: Floats
    counts_for: Floats
    told: Floats
    asked: NDArray[np.bool_]
    firsts: Ints
    names: list[str]
    spreads: Floats
    effects: Floats


_kept: OrderedDict[Path, _Rows] = OrderedDict()


def open_shard(folder: Path, terms: Terms) -> Opened:
    """Read a shard, and say which weights take part in it."""
    _kept.pop(folder, None)
    return _load_rows(folder, terms).opened


def sum_shard(folder: Path, argument: tuple[Terms, Floats]) -> Sums:
    """Slopes and bends at given weights, of a shard's slots by head."""
    terms, means = argument
    rows = _load_rows(folder, terms)
    sums = Sums(np.zeros(HEADS_AGAIN), np.zeros_like(means), np.zeros_like(means))
    rows.effects[:] = 0.0  # not from where they were: another process may have done the pass before this one
    add_slopes(
        rows.firsts, rows.spreads, rows.offsets, rows.slots, rows.weights, rows.came, rows.counts_for, means,
        rows.effects, np.zeros_like(rows.came), sums.slopes, sums.bends, sums.losses,
    )  # fmt: skip
    return sums


def settle_shard(folder: Path, argument: tuple[Terms, Floats]) -> dict[str, Floats]:
    """Viewers' own effects at given weights, by head."""
    sum_shard(folder, argument)
    rows = _load_rows(folder, argument[0])
    return {name: own for name, own in zip(rows.names, rows.effects, strict=True) if name}


def estimate_shard(folder: Path, question: Asked) -> Estimated:
    """Estimate examples at given weights, of a shard's slots by head; what has not come by now never will."""
    rows = _load_rows(folder, question.terms)
    wanted = np.flatnonzero((rows.times >= question.from_ts) & (rows.times < question.until_ts))
    viewer_of = np.searchsorted(rows.firsts, wanted, side="right") - 1
    estimates = np.zeros((len(wanted), HEADS_AGAIN))
    for place, row in enumerate(wanted.tolist()):
        own = question.effects.get(rows.names[viewer_of[place]], _NO_EFFECT)
        for head in range(HEADS_AGAIN):
            part = slice(rows.offsets[row], end_of_weights(rows.offsets, row, head))
            score = float(rows.weights[part] @ question.means[rows.slots[part], head])
            estimates[place, head] = logistic(score + float(own[head]))
    came = np.where(rows.asked[wanted], rows.came[wanted] == _YES, -1.0)
    return Estimated(estimates, rows.told[wanted], came)


def _load_rows(folder: Path, terms: Terms) -> _Rows:
    rows = _kept.get(folder)
    if rows is None:
        rows = _kept[folder] = _read_rows(folder, terms)
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return rows


def _read_rows(folder: Path, terms: Terms) -> _Rows:
    with import_module("duckdb").connect() as db:
        query = f"SELECT {_COLUMNS} FROM read_parquet(?, hive_partitioning = false) ORDER BY user_id, nonce"
        found = db.execute(query, [f"{folder}/*.parquet"]).fetchnumpy()
    ads = terms.ads
    places = np.array([ads.places.get(int(ad), -1) for ad in found["ad"]], np.int64)
    told = np.array([len(features) > 0 for features in found["hashes"]], np.bool_)
    kept = np.flatnonzero((places >= 0) & told)
    columns = {name: column[kept] for name, column in found.items()}
    chosen = places[kept]
    offsets, slots, weights, family_of = _list_weights(columns, chosen, terms)
    own, local = np.unique(slots, return_inverse=True)
    names = [str(name) for name in columns["user_id"]]
    begins = [place for place, name in enumerate(names) if not place or names[place - 1] != name]
    firsts = np.array([*begins, len(names)], np.int64)
    viewers = [names[first] for first in firsts[:-1]]
    somebody = np.array([bool(name) for name in viewers], np.float64).reshape(-1, 1)
    came, asked = _came_of(columns, chosen, terms)
    return _Rows(
        Opened(own, family_of[own], len(names)), np.asarray(columns["ts"], np.int64), offsets,
        local.astype(np.int64), weights, came, _counts_of(columns, terms), _stack(columns["p"], HEADS), asked,
        firsts, viewers, somebody * terms.viewer_spread[:HEADS_AGAIN], np.zeros((len(viewers), HEADS_AGAIN)),
    )  # fmt: skip


def _list_weights(columns: dict[str, Any], chosen: Ints, terms: Terms) -> tuple[Ints, Ints, Floats, Ints]:
    ads, count = terms.ads, len(chosen)
    starts = np.concatenate([[0], np.cumsum([len(each) for each in columns["hashes"]])]).astype(np.int64)
    hashes = _flat(columns["hashes"], np.int64).view(np.uint64)
    values, kinds = _flat(columns["weights"], np.float64), _flat(columns["kinds"], np.int64)
    between = _stack(columns["between"], BETWEEN, np.int64).view(np.uint64)
    said = np.array([said_by(raw) for raw in columns["raw"]]).reshape(-1, STACKED)
    scratch = (
        np.zeros(terms.most_weights, np.int64), np.zeros(terms.most_weights),
        np.zeros(terms.most_weights, np.int64),
    )  # fmt: skip
    offsets, family_of = np.zeros(count + 1, np.int64), np.full(1 << (64 - terms.shift), FAMILIES, np.int64)
    slots, weights = np.zeros(0, np.int64), np.zeros(0)
    for _ in range(2):  # the first turn counts, the second fills
        list_rows(
            starts, hashes, values, kinds, between, said, chosen, ads.table, ads.hashes, ads.features,
            ads.values, ads.feature_hashes, ads.crosses, np.uint64(terms.shift), *scratch, offsets, slots,
            weights, family_of,
        )  # fmt: skip
        if not len(slots):
            slots, weights = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1])
    return offsets, slots, weights, family_of


def _flat(lists: Any, kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *lists]).astype(kind)


def _stack(lists: Any, width: int, kind: type[np.generic] = np.float64) -> NDArray[Any]:
    return np.array([np.asarray(each, kind) for each in lists], kind).reshape(len(lists), width)


def _came_of(columns: dict[str, Any], chosen: Ints, terms: Terms) -> tuple[Floats, NDArray[np.bool_]]:
    """What is known of each example, by head (see `slope_of`), and whether the question arose at all.

    No good lead comes of a spam chat.
    """
    came = np.zeros((len(chosen), HEADS_AGAIN))
    asked = np.ones(came.shape, np.bool_)
    is_there = {
        name: ~np.ma.getmaskarray(columns[f"{name}_ts"]) for name in ("click", "conversation", "lead", "spam")
    }
    has_waited = terms.as_of_ts - _times(columns["view_ts"]) > terms.click_wait_us
    came[:, CLICK] = np.where(is_there["click"], _YES, np.where(has_waited, _NO, 0.0))
    groups = terms.ads.groups[chosen]
    waits = {
        CONVERSATION: ("click", "conversation"),
        SPAM: ("conversation", "spam"),
        LEAD: ("conversation", "lead"),
    }
    for head, (since, until) in waits.items():
        age_s = (terms.as_of_ts - _times(columns[f"{since}_ts"])) / _SECOND
        edge = np.searchsorted(terms.edges_s, age_s, side="right") - 1
        share = np.where(edge < 0, 0.0, terms.late[head][groups, np.maximum(edge, 0)])
        found = np.where(is_there[until], _YES, share)
        asked[:, head] = is_there[since] & is_there["click"]
        came[:, head] = np.where(asked[:, head], found, 0.0)
    came[is_there["spam"] & asked[:, LEAD], LEAD] = _NO
    return came, asked


def _times(column: Any) -> Ints:
    return np.asarray(np.ma.filled(column, 0), np.int64)


def _counts_of(columns: dict[str, Any], terms: Terms) -> Floats:
    """A viewer with more views or clicks in a day than people have counts as one of those who have them."""
    views = terms.views_a_day / np.maximum(np.asarray(columns["views_day"], np.float64), terms.views_a_day)
    clicks = terms.clicks_a_day / np.maximum(
        np.asarray(columns["clicks_day"], np.float64), terms.clicks_a_day
    )
    counts = np.repeat(clicks.reshape(-1, 1), HEADS_AGAIN, axis=1)
    counts[:, CLICK] = np.minimum(views, clicks)
    return counts
