"""Snapshots of a marketplace as bytes, restored exactly."""

import hashlib
from collections import deque
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning.columns import FAMILIES, MOST_CONTEXT, S_FARM_PRIOR, S_VIEWER_MEAN, S_VIEWER_SLOPE
from contatto.learning.features import FieldValues
from contatto.learning.impressions import SNAPSHOT_ARRAYS
from contatto.learning.market import GROUP_ARRAYS, VIEWER_ARRAYS, MarketState

_MAGIC: Final = b"contatto marketplace 12\n"
_BY_FEATURE: Final = ("hashes", "values", "kinds")
"""Arrays with a column per feature, saved as wide as the widest row."""
_PLAIN: Final = (
    "now", "stepped_at", "daily_at", "relearned_at", "clicks_then", "requests", "first_asked", "click_wait",
    "promise_wait", "views_seen", "views_lost", "clicks", "farm_clicks",
)  # fmt: skip
_LEARNED_NUMBERS: Final = [S_VIEWER_SLOPE, S_VIEWER_MEAN, S_FARM_PRIOR]


class Damaged(Exception):
    """Bytes that are no complete snapshot."""


class Different(Exception):
    """Snapshot of a marketplace with another seed, policy or settings."""


def save_market(market: MarketState) -> bytes:
    """Return a snapshot: magic bytes, digest and encoded state."""
    table = market.learned
    used = np.flatnonzero(table.family_of != FAMILIES)
    state = {
        "identity": market.identity(),
        "plain": {name: getattr(market, name) for name in _PLAIN},
        "fields": [
            [
                [name, values.hashes, values.counts, values.numbers, values.knots, values.is_list]
                for name, values in fields.by_name.items()
            ]
            for fields in (market.asked_fields, market.ad_fields)
        ],
        "groups": [market.groups.state(), _pack_arrays(market.groups, GROUP_ARRAYS)],
        "weights": [
            _pack(used), _pack(table.table[used]), _pack(table.family_of[used]), _pack(table.again[used]),
        ],
        "viewers": [
            list(market.viewers.by_id), _pack_arrays(market.viewers, (*VIEWER_ARRAYS, "again")),
        ],
        "classes": [
            list(market.classes.words), list(market.classes.row_of), market.classes.noted,
            market.classes.fitted_at,
            {name: _pack(array) for name, array in market.classes.state().items()},
        ],
        "records": market.records.state(),
        "snapshots": [_pack_snapshots(market), market.snapshots.free],
        "calibration": _pack_arrays(market.calibration, ("came", "expected", "tried")),
        "caps": market.caps.state(),
        "traffic": market.traffic.state(),
        "waiting": [delays.state() for delays in (market.talks, market.leads, market.spam)],
        "seen": list(market.seen_order),
        "asked": list(market.asked.items()),
        "talks": [[*key, name] for key, name in market.talk_of.items()],
        "leads": [[*key, name] for key, name in market.lead_of.items()],
        "numbers": market.numbers[_LEARNED_NUMBERS].tolist(),
        "rates": [_pack(market.rates), _pack(market.asked_before), _pack(market.usual)],
    }  # fmt: skip
    body = msgspec.msgpack.encode(state)
    return _MAGIC + hashlib.sha256(body).digest() + body


def restore_market(market: MarketState, raw: bytes) -> None:
    """Restore a new marketplace from a snapshot.

    Raises:
        Damaged: the bytes are incomplete.
        Different: the marketplace has another seed, policy or settings.
    """
    digest, body = raw[len(_MAGIC) : len(_MAGIC) + 32], raw[len(_MAGIC) + 32 :]
    if not raw.startswith(_MAGIC):
        raise Damaged("another release wrote it, or it is no marketplace")
    if hashlib.sha256(body).digest() != digest:
        raise Damaged("it is not whole")
    state = msgspec.msgpack.decode(body)
    if state["identity"] != market.identity():
        raise Different("the folder is of another seed, policy or settings")
    for name, value in state["plain"].items():
        setattr(market, name, value)
    for fields, packed_fields in zip((market.asked_fields, market.ad_fields), state["fields"], strict=True):
        fields.by_name = {}
        for name, *figures in packed_fields:
            values = fields.by_name[name] = FieldValues(f"{fields.origin}\0{name}")
            values.hashes, values.counts, values.numbers, values.knots, values.is_list = figures
    market.groups.restore(state["groups"][0])
    _restore_arrays(market.groups, state["groups"][1])
    used, rows, families, batch_means = (_unpack(packed) for packed in state["weights"])
    market.learned.table[:] = market.learned.again[:] = 0.0
    market.learned.table[used], market.learned.family_of[used] = rows, families
    market.learned.again[used] = batch_means
    names, arrays = state["viewers"]
    market.viewers.by_id = {name: row for row, name in enumerate(names)}
    _restore_arrays(market.viewers, arrays)
    words, waiting, noted, fitted_at, arrays = state["classes"]
    unpacked = {name: _unpack(packed) for name, packed in arrays.items()}
    market.classes.restore(words, waiting, noted, fitted_at, unpacked)
    market.records.restore(state["records"])
    _restore_snapshots(market, *state["snapshots"])
    _restore_arrays(market.calibration, state["calibration"])
    if "caps" in state:  # earlier releases kept none
        market.caps.restore(state["caps"])
    market.traffic.restore(state["traffic"])
    for delays, saved in zip((market.talks, market.leads, market.spam), state["waiting"], strict=True):
        delays.restore(saved)
    market.seen_order = deque((ts, digest) for ts, digest in state["seen"])
    market.seen = {digest for _, digest in market.seen_order}
    market.asked = {name: (kind, answer) for name, (kind, answer) in state["asked"]}
    market.talk_of = {(viewer, advertiser): name for viewer, advertiser, name in state["talks"]}
    market.lead_of = {(viewer, advertiser): name for viewer, advertiser, name in state["leads"]}
    market.numbers[_LEARNED_NUMBERS] = state["numbers"]
    market.rates, market.asked_before, market.usual = (_unpack(packed) for packed in state["rates"])


def _pack(array: NDArray[Any]) -> list[Any]:
    return [array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes()]


def _unpack(packed: list[Any]) -> NDArray[Any]:
    dtype, shape, data = packed
    return np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()


def _pack_arrays(holder: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _pack(getattr(holder, name)) for name in names}


def _restore_arrays(holder: object, packed: dict[str, Any]) -> None:
    for name, array in packed.items():
        setattr(holder, name, _unpack(array))


def _pack_snapshots(market: MarketState) -> list[Any]:
    """Pack the rows and columns in use."""
    snapshots = market.snapshots
    used = np.setdiff1d(np.arange(len(snapshots.counts)), np.array(snapshots.free, np.int64))
    rows = {name: getattr(snapshots, name)[used] for name in SNAPSHOT_ARRAYS}
    most = int(rows["counts"].max(initial=0))
    is_unused = np.arange(most) >= rows["counts"][:, None]
    for name in _BY_FEATURE:
        rows[name] = rows[name][:, :most].copy()
        rows[name][is_unused] = 0
    return [len(snapshots.counts), _pack(used), {name: _pack(array) for name, array in rows.items()}]


def _restore_snapshots(market: MarketState, packed: list[Any], free: list[int]) -> None:
    size, used, arrays = packed
    rows = _unpack(used)
    for name, array in arrays.items():
        values = _unpack(array)
        width = (MOST_CONTEXT,) if name in _BY_FEATURE else values.shape[1:]
        whole = np.zeros((size, *width), values.dtype)
        if name in _BY_FEATURE:
            whole[rows, : values.shape[1]] = values
        else:
            whole[rows] = values
        setattr(market.snapshots, name, whole)
    market.snapshots.free = free
    impressions = (item for item in market.records.shown.values() if item and item.place >= 0)
    market.snapshots.holders = {impression.place: impression for impression in impressions}
