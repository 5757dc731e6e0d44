"""Snapshots of a marketplace as bytes, restored exactly."""

import hashlib
from collections import deque
from types import GenericAlias
from typing import Any, Final, get_args, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

from contatto.learning.columns import FAMILIES, MOST_CONTEXT, S_FARM_PRIOR, SETTINGS
from contatto.learning.features import FeatureFields
from contatto.learning.impressions import SNAPSHOT_ARRAYS, FrequencyCounter, LabelDelays, Records
from contatto.learning.market import CalibrationCounts, Groups, MarketState, Traffic, Viewers

_MAGIC: Final = b"contatto marketplace 24\n"
_BY_FEATURE: Final = ("hashes", "values", "kinds")
"""Arrays with a column per feature, saved as wide as the widest row."""
_LEARNED_NUMBERS: Final = slice(S_FARM_PRIOR, SETTINGS)
_PLAIN: Final = (
    "now", "stepped_at", "daily_at", "relearned_at", "clicks_then", "requests", "first_asked", "click_wait",
    "promise_wait", "views_seen", "views_lost", "clicks", "farm_clicks",
)  # fmt: skip
_PARTS: Final[dict[str, Any]] = {
    "asked_fields": FeatureFields,
    "ad_fields": FeatureFields,
    "groups": Groups,
    "viewers": Viewers,
    "records": Records,
    "calibration": CalibrationCounts,
    "caps": FrequencyCounter,
    "traffic": Traffic,
    "talks": LabelDelays,
    "leads": LabelDelays,
    "spam": LabelDelays,
    "seen_order": deque[tuple[int, int]],
    "asked": dict[str, tuple[str, bytes]],
    "talk_of": dict[tuple[int, int], str],
    "lead_of": dict[tuple[int, int], str],
    "rates": NDArray[np.float64],
    "asked_before": NDArray[np.float64],
    "usual": NDArray[np.float64],
    **dict.fromkeys(_PLAIN, int | float),
}
"""Parts of a market that are saved as they are, with their types."""


class Damaged(Exception):
    """Bytes that are no complete snapshot."""


class Different(Exception):
    """Snapshot of a marketplace with another seed, policy or settings."""


def save_market(market: MarketState) -> bytes:
    """Return a snapshot: magic bytes, digest and encoded state."""
    table = market.learned
    used = np.flatnonzero(table.family_of != FAMILIES)
    classes, snapshots = market.classes, market.snapshots
    occupied = np.setdiff1d(np.arange(len(snapshots.counts)), np.array(snapshots.free, np.int64))
    arrays = {name: getattr(snapshots, name)[occupied] for name in SNAPSHOT_ARRAYS}
    most = int(arrays["counts"].max(initial=0))
    is_unused = np.arange(most) >= arrays["counts"][:, None]
    for name in _BY_FEATURE:
        arrays[name] = arrays[name][:, :most].copy()
        arrays[name][is_unused] = 0
    state = {
        "identity": market.identity(),
        "weights": [used, table.table[used], table.family_of[used], table.draft[used], table.widths[used]],
        "scale": table.scale,
        "classes": [
            list(classes.words), list(classes.fields), list(classes.row_of), classes.noted,
            classes.fitted_at, classes.state(),
        ],
        "snapshots": [[len(snapshots.counts), occupied, arrays], snapshots.free],
        "numbers": market.numbers[_LEARNED_NUMBERS].tolist(),
    } | {name: getattr(market, name) for name in _PARTS}  # fmt: skip
    body = msgspec.msgpack.encode(state, enc_hook=to_builtin)
    return _MAGIC + hashlib.sha256(body).digest() + body


def restore_market(market: MarketState, raw: bytes) -> None:
    """Fill a new marketplace from a snapshot with the same identity. Raises Damaged, Different."""
    digest, body = raw[len(_MAGIC) : len(_MAGIC) + 32], raw[len(_MAGIC) + 32 :]
    if not raw.startswith(_MAGIC):
        raise Damaged("another release wrote it, or it is no marketplace")
    if hashlib.sha256(body).digest() != digest:
        raise Damaged("it is not whole")
    state = msgspec.msgpack.decode(body)
    if state["identity"] != market.identity():
        raise Different("the folder is of another seed, policy or settings")
    for name, shape in _PARTS.items():
        setattr(market, name, msgspec.convert(state[name], shape, dec_hook=from_builtin))
    market.seen = {digest for _, digest in market.seen_order}
    market.learned.scale_context(state["scale"])
    used, rows, families, draft, widths = map(_unpack, state["weights"])
    market.learned.table[:] = market.learned.draft[:] = 0.0
    market.learned.table[used], market.learned.family_of[used] = rows, families
    market.learned.draft[used], market.learned.widths[used] = draft, widths
    words, fields, waiting, noted, fitted_at, arrays = state["classes"]
    unpacked = {name: _unpack(packed) for name, packed in arrays.items()}
    market.classes.restore(words, fields, waiting, noted, fitted_at, unpacked)
    (size, occupied, kept), free = state["snapshots"]
    places = _unpack(occupied)
    for name, array in kept.items():
        values = _unpack(array)
        width = (MOST_CONTEXT,) if name in _BY_FEATURE else values.shape[1:]
        whole = np.zeros((size, *width), values.dtype)
        if name in _BY_FEATURE:
            whole[places, : values.shape[1]] = values
        else:
            whole[places] = values
        setattr(market.snapshots, name, whole)
    market.snapshots.free = free
    impressions = (item for item in market.records.shown.values() if item and item.place >= 0)
    market.snapshots.holders = {impression.place: impression for impression in impressions}
    market.numbers[_LEARNED_NUMBERS] = state["numbers"]


def to_builtin(value: Any) -> Any:
    """Encode an array or a queue for msgspec."""
    if isinstance(value, deque):
        return list(value)
    return [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]


def from_builtin(shape: Any, value: Any) -> Any:
    """Decode an array or a queue for msgspec."""
    if get_origin(shape) is deque:
        return deque(msgspec.convert(value, GenericAlias(list, get_args(shape))))
    return _unpack(value)


def _unpack(packed: list[Any]) -> NDArray[Any]:
    dtype, shape, data = packed
    return np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
