"""The cold log: views that only sealed files hold any more, read through DuckDB.

Theory. A touch is in the database until the database drops it, and the drop notes in the same transaction how
far it went: the views of a file up to ``dropped_through`` are in that file alone, all other touches in the
database. Whoever adds the two up counts nothing twice, at any moment of a drop. Files are sorted by business,
person and time, so that a condition on these skips most of a file. Taps are never dropped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Final

from contatto.kit.parquet import create_table, load_rows
from contatto.measurement.engines.manifest import ALL_DROPPED
from contatto.measurement.engines.sealing import BrokenFile, check_file, check_size, path_of
from contatto.measurement.model import SealedFile, Touch, TouchKind

_SETTINGS: Final = {"threads": 2, "memory_limit": "512MB", "autoinstall_known_extensions": False}
_VIEW: Final = {
    "touch_id": "touch_id",
    "business_id": "business_id",
    "user_id": "person_id",
    "ad_id": "ad_id",
    "adgroup_id": "ad_group_id",
    "ad_account_id": "ad_account_id",
    "ts": "ts",
    "expires_ts": "expires_ts",
    "day::VARCHAR": "day",
    "cost_micros": "cost_micros",
    "country": "country",
}
"""The columns of a view, and what they are called in a touch."""
_MOMENTS: Final = {"conversion_id": "BIGINT", "user_id": "VARCHAR", "ts": "BIGINT"}


@dataclass(frozen=True, slots=True)
class Viewed:
    """Which views of an ad account are meant: those from a moment on, and before another."""

    business_id: str
    ad_account_id: str
    since_ts: int | None = None
    until_ts: int | None = None

    @property
    def conditions(self) -> tuple[str, list[Any]]:
        """Conditions of SQL, and the values for them."""
        found: dict[str, Any] = {"business_id = ?": self.business_id, "ad_account_id = ?": self.ad_account_id}
        found |= {} if self.since_ts is None else {"ts >= ?": self.since_ts}
        found |= {} if self.until_ts is None else {"ts < ?": self.until_ts}
        return " AND ".join(found), list(found.values())


@dataclass(frozen=True, slots=True)
class Moment:
    """A conversion for which the view that may have earned it is sought."""

    conversion_id: int
    user_id: str
    ts: int


@dataclass(frozen=True, slots=True)
class ViewSums:
    """Views of an ad at a place and a time, and what they cost."""

    ad_id: str
    country: str
    at: str | int
    views: int
    cost_micros: int


def list_views_of(files: Sequence[SealedFile], business_id: str, person_id: str) -> list[Touch]:
    """The views of a person that only these files hold.

    Raises:
        BrokenFile: one of the files is gone or damaged.
    """
    query = f"SELECT {', '.join(_VIEW)} FROM views WHERE business_id = ? AND user_id = ?"
    return [_touch(row) for row in _read(files, query, [business_id, person_id])]


def list_view_sums(
    files: Sequence[SealedFile], viewed: Viewed, at: str, places: Sequence[str]
) -> list[ViewSums]:
    """Sums by those of ``ad_id`` and ``country`` that are asked for, and by an expression of time.

    Raises:
        BrokenFile: one of the files is gone or damaged.
    """
    where, values = viewed.conditions
    keys = ", ".join(name if name in places else f"'' AS {name}" for name in ("ad_id", "country"))
    query = (
        f"SELECT {keys}, {at} AS at, count(*), sum(cost_micros)::BIGINT FROM views WHERE {where} GROUP BY ALL"
    )
    return [ViewSums(*row) for row in _read(files, query, values)]


def list_viewers(
    files: Sequence[SealedFile], viewed: Viewed, at: str
) -> list[tuple[str, str | int, str, str]]:
    """List each person once for each ad, time and country.

    Raises:
        BrokenFile: one of the files is gone or damaged.
    """
    where, values = viewed.conditions
    query = f"SELECT DISTINCT ad_id, {at} AS at, country, user_id FROM views WHERE {where}"
    return _read(files, query, values)


def find_latest_views(
    files: Sequence[SealedFile], business_id: str, moments: Iterable[Moment], window_us: int | None
) -> dict[int, Touch]:
    """For each conversion the latest view before it, within a window or within the view's own one.

    Raises:
        BrokenFile: one of the files is gone or damaged.
    """
    oldest = "v.expires_ts >= c.ts" if window_us is None else f"v.ts >= c.ts - {int(window_us)}"
    query = (
        f"SELECT c.conversion_id, {', '.join('v.' + name for name in _VIEW)}"
        f" FROM views v JOIN moments c ON v.user_id = c.user_id AND v.ts <= c.ts AND {oldest}"
        " WHERE v.business_id = ?"
        " QUALIFY row_number() OVER (PARTITION BY c.conversion_id ORDER BY v.ts DESC, v.touch_id DESC) = 1"
    )
    return {row[0]: _touch(row[1:]) for row in _read(files, query, [business_id], moments)}


def holds_view(files: Sequence[SealedFile], touch_id: int) -> bool:
    """Whether one of the files alone holds a view.

    Raises:
        BrokenFile: one of the files is gone or damaged.
    """
    return bool(_read(files, "SELECT 1 FROM views WHERE touch_id = ? LIMIT 1", [touch_id]))


def list_next_views(file: SealedFile, limit: int) -> list[int]:
    """The ids of views that come next when a file's views are dropped, in their order.

    Raises:
        BrokenFile: the file is gone or damaged, in any bit of it.
    """
    check_file(file)
    query = "SELECT touch_id FROM sealed WHERE click = 0 AND touch_id > ? ORDER BY touch_id LIMIT ?"
    return [touch_id for (touch_id,) in _read([file], query, [file.dropped_through, limit])]


def load_whole[T](
    files: Sequence[SealedFile], read: Callable[[Sequence[SealedFile]], T]
) -> tuple[T, list[BrokenFile]]:
    """Read what can be read, and say which files could not."""
    broken: list[BrokenFile] = []
    left = list(files)
    while True:
        try:
            return read(left), broken
        except BrokenFile as error:
            broken.append(error)
            left.remove(error.file)


def _read(
    files: Sequence[SealedFile], query: str, values: list[Any], moments: Iterable[Moment] | None = None
) -> list[Any]:
    """Run a query over the views that the files alone hold, called ``views``; ``sealed`` has all touches."""
    if not files:
        return []
    for file in files:
        check_size(file)
    root = _root()
    try:
        with root.cursor() as db:
            _open_views(db, files)
            if moments is not None:
                with TemporaryDirectory(prefix="contatto-") as scratch:
                    create_table(db, "moments", _MOMENTS, kind="TEMP TABLE")
                    load_rows(db, "moments", _MOMENTS, moments, Path(scratch))
            return list(db.execute(query, values).fetchall())
    except import_module("duckdb").Error:
        for file in files:
            check_file(file)  # names the one that is damaged
        raise


@cache
def _root() -> Any:
    """DuckDB, in memory, for all readings of this process: 27 MiB that one without any does without."""
    spill = str(Path(gettempdir()) / "contatto-duckdb")  # not where the process was started
    return import_module("duckdb").connect(config=_SETTINGS | {"temp_directory": spill})


def _open_views(db: Any, files: Sequence[SealedFile]) -> None:
    db.execute(f"CREATE TEMP VIEW sealed AS SELECT * FROM {_scan(files)}")
    whole = [file for file in files if file.dropped_through == ALL_DROPPED]
    parts = [f"SELECT * FROM {_scan(whole)} WHERE click = 0"] if whole else []
    parts += [
        f"SELECT * FROM {_scan([file])} WHERE click = 0 AND touch_id <= {file.dropped_through}"
        for file in files
        if file.dropped_through != ALL_DROPPED
    ]
    db.execute(f"CREATE TEMP VIEW views AS {' UNION ALL '.join(parts)}")


def _scan(files: Sequence[SealedFile]) -> str:
    names = ", ".join("'" + str(path_of(file)).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}], hive_partitioning = false)"


def _touch(row: Sequence[Any]) -> Touch:
    return Touch(**dict(zip(_VIEW.values(), row, strict=True)), kind=TouchKind.VIEW)
