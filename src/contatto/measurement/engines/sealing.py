"""Sealed files: their manifest, writing, and reading of dropped views.

A file holds touches of one day and all businesses. The database later drops its views, and keeps clicks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Final

import sqlalchemy as sa

from contatto.kit.db.tx import Tx, instant, metadata, row_of, text
from contatto.kit.values import from_micros
from contatto.measurement.engines import parquet
from contatto.measurement.model import Attribution, ConversionKind, SealedFile, Touch, TouchKind

sealed_files = sa.Table(
    "sealed_files",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    text("folder"),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("part", sa.BigInteger, nullable=False),
    sa.Column("touches", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    instant("sealed_at"),
    sa.Column("dropped_through", sa.BigInteger, nullable=False, server_default="-1"),
    sa.Column("dropped", sa.BigInteger, nullable=False, server_default="0"),
)
"""Manifest: other files do not count. ``dropped_through`` is the last id of a view that was dropped."""

ALL_DROPPED: Final = (1 << 63) - 1
"""Value of ``dropped_through`` for a file whose views are all dropped."""


def list_sealed_files(tx: Tx, *conditions: sa.ColumnElement[bool]) -> list[SealedFile]:
    query = sa.select(sealed_files).where(*conditions)
    return tx.list(SealedFile, query.order_by(sealed_files.c.day, sealed_files.c.part))


def append_sealed_file(tx: Tx, file: SealedFile) -> bool:
    """List a file in the manifest; False when it is listed already."""
    row = row_of(file)
    return tx.insert_ignore(sealed_files, row | {"sealed_at": tx.now})


def record_dropped(tx: Tx, file: SealedFile, through: int, count: int) -> bool:
    """Record that the database has dropped more views of a file; False after a change by another worker."""
    is_unchanged = (sealed_files.c.name == file.name, sealed_files.c.dropped_through == file.dropped_through)
    more = {"dropped_through": through, "dropped": sealed_files.c.dropped + count}
    return tx.execute(sa.update(sealed_files).where(*is_unchanged).values(more)).rowcount == 1


CONVERSIONS: Final = "conversions/all.parquet"
_TOUCHES: Final = parquet.Layout(
    parquet.columns_of(
        "touch_id BIGINT, business_id VARCHAR, user_id VARCHAR, adgroup_id VARCHAR, ad_id VARCHAR,"
        " ad_account_id VARCHAR, click BIGINT, ts BIGINT, expires_ts BIGINT, day DATE, cost_micros BIGINT,"
        " country VARCHAR"
    ),
    "business_id, user_id, ts, touch_id",
)
_FIELDS: Final = {
    "touch_id": "touch_id",
    "business_id": "business_id",
    "user_id": "person_id",
    "ad_id": "ad_id",
    "adgroup_id": "ad_group_id",
    "ad_account_id": "ad_account_id",
    "ts": "ts",
    "expires_ts": "expires_ts",
    "day": "day",
    "cost_micros": "cost_micros",
    "country": "country",
}
"""Columns of a file and their fields of a touch; beside them is ``click``."""
_VALUES_OF: Final = attrgetter(*_FIELDS.values())
_VIEW: Final = [f"{name}::VARCHAR" if name == "day" else name for name in _FIELDS]
_CONVERSIONS: Final = parquet.Layout(
    parquet.columns_of(
        "conversion_id BIGINT, business_id VARCHAR, user_id VARCHAR, lead BIGINT, ts BIGINT, day DATE"
    ),
    "business_id, ts",
)


class BrokenFile(OSError):
    """A sealed file that is gone (``is_gone``), cut off or changed; its text names it."""

    def __init__(self, file: SealedFile, what: str, *, is_gone: bool = False) -> None:
        super().__init__(f"{path_of(file)} {what}. Put it back from a backup.")
        self.file = file
        self.is_gone = is_gone


def path_of(file: SealedFile) -> Path:
    return Path(file.folder) / file.name


def write_part(
    folder: Path, day: str, touches: Iterable[Touch], before: Sequence[SealedFile]
) -> SealedFile | None:
    """Write the touches of a day that its earlier files ``before`` lack, or nothing without any.

    Raises:
        BrokenFile: one of the earlier files is gone or damaged.
        OSError: the disk is full, or fails; no finished file is left.
    """
    part = len(before) + 1
    name = f"touches/day={day}/part-{part}.parquet"
    sealed_ids: set[int] = set()
    for file in before:
        check_file(file)
        query = "SELECT touch_id FROM read_parquet(?)"
        result = import_module("duckdb").execute(query, [str(path_of(file))])
        sealed_ids.update(touch_id for (touch_id,) in result.fetchall())
    rows = (
        dict(zip(_FIELDS, _VALUES_OF(touch), strict=True)) | {"click": int(touch.kind is TouchKind.CLICK)}
        for touch in touches
        if touch.touch_id not in sealed_ids
    )
    path = folder / name
    count = parquet.write_parquet(path, _TOUCHES, rows)
    if not count:
        return None
    return SealedFile(name, str(folder), day, part, count, path.stat().st_size, parquet.digest_of(path))


def write_conversions(
    folder: Path, conversions: Iterable[Attribution], viewers: Mapping[str, Sequence[str]]
) -> None:
    """Replace the file of all conversions: they are few, and may move or be withdrawn.

    A conversion has a row for its person and one for each viewer of the person, because touches have either.
    Without a winner the zone is unknown, and the day is that of UTC.
    """
    rows = (
        {
            "conversion_id": conversion.conversion_id,
            "business_id": conversion.business_id,
            "user_id": user_id,
            "lead": int(conversion.kind is ConversionKind.LEAD),
            "ts": conversion.ts,
            "day": conversion.rt_day or from_micros(conversion.ts).date().isoformat(),
        }
        for conversion in conversions
        for user_id in (conversion.person_id, *viewers.get(conversion.person_id, ()))
    )
    parquet.write_parquet(folder / CONVERSIONS, _CONVERSIONS, rows, keep_empty=True)


def check_file(file: SealedFile) -> None:
    """Check a sealed file by its digest. Raises BrokenFile: it is gone, cut off, or changed."""
    check_size(file)
    if parquet.digest_of(path_of(file)) != file.sha256:
        raise BrokenFile(file, "is not what was sealed")


def check_size(file: SealedFile) -> None:
    """Check a sealed file by its size, quick enough for each reading. Raises BrokenFile: gone or cut off."""
    try:
        size = path_of(file).stat().st_size
    except OSError as error:
        raise BrokenFile(file, "is gone", is_gone=True) from error
    if size != file.size:
        raise BrokenFile(file, f"has {size} bytes instead of {file.size}")


def list_broken(files: Iterable[SealedFile]) -> list[BrokenFile]:
    broken_files: list[BrokenFile] = []
    for file in files:
        try:
            check_size(file)
        except BrokenFile as broken:
            broken_files.append(broken)
    return broken_files


_SETTINGS: Final = {"threads": 2, "memory_limit": "512MB", "autoinstall_known_extensions": False}
_MOMENTS: Final = parquet.columns_of("conversion_id BIGINT, user_id VARCHAR, ts BIGINT")


@dataclass(frozen=True, slots=True)
class Viewed:
    """Selection of an ad account's views from ``since_ts`` until before ``until_ts``."""

    business_id: str
    ad_account_id: str
    since_ts: int | None = None
    until_ts: int | None = None

    @property
    def conditions(self) -> tuple[str, list[Any]]:
        """Conditions of SQL, and the values for them."""
        values: dict[str, Any] = {
            "business_id = ?": self.business_id,
            "ad_account_id = ?": self.ad_account_id,
        }
        values |= {} if self.since_ts is None else {"ts >= ?": self.since_ts}
        values |= {} if self.until_ts is None else {"ts < ?": self.until_ts}
        return " AND ".join(values), list(values.values())


@dataclass(frozen=True, slots=True)
class Moment:
    """Conversion to find the latest view for."""

    conversion_id: int
    user_id: str
    ts: int


@dataclass(frozen=True, slots=True)
class ViewSums:
    """Views and costs of an ad by country and day or quarter-hour."""

    ad_id: str
    country: str
    at: str | int
    views: int
    cost_micros: int


def list_views_of(files: Sequence[SealedFile], business_id: str, person_id: str) -> list[Touch]:
    """Return the dropped views of a person in these files. Raises BrokenFile."""
    query = f"SELECT {', '.join(_VIEW)} FROM views WHERE business_id = ? AND user_id = ?"
    return [_touch(row) for row in _read(files, query, [business_id, person_id])]


def list_view_sums(
    files: Sequence[SealedFile], viewed: Viewed, at: str, places: Sequence[str]
) -> list[ViewSums]:
    """Return sums by ``ad_id``, ``country`` or both, and by an expression of time. Raises BrokenFile."""
    where, values = viewed.conditions
    keys = ", ".join(name if name in places else f"'' AS {name}" for name in ("ad_id", "country"))
    query = (
        f"SELECT {keys}, {at} AS at, count(*), sum(cost_micros)::BIGINT FROM views WHERE {where} GROUP BY ALL"
    )
    return [ViewSums(*row) for row in _read(files, query, values)]


def list_viewers(
    files: Sequence[SealedFile], viewed: Viewed, at: str
) -> list[tuple[str, str | int, str, str]]:
    """List each person once for each ad, time and country. Raises BrokenFile."""
    where, values = viewed.conditions
    query = f"SELECT DISTINCT ad_id, {at} AS at, country, user_id FROM views WHERE {where}"
    return _read(files, query, values)


def find_latest_views(
    files: Sequence[SealedFile], business_id: str, moments: Iterable[Moment], window_us: int | None
) -> dict[int, Touch]:
    """Return the latest view before each conversion, in a window or the view's own. Raises BrokenFile."""
    oldest = "v.expires_ts >= c.ts" if window_us is None else f"v.ts >= c.ts - {int(window_us)}"
    query = (
        f"SELECT c.conversion_id, {', '.join('v.' + name for name in _VIEW)}"
        f" FROM views v JOIN moments c ON v.user_id = c.user_id AND v.ts <= c.ts AND {oldest}"
        " WHERE v.business_id = ?"
        " QUALIFY row_number() OVER (PARTITION BY c.conversion_id ORDER BY v.ts DESC, v.touch_id DESC) = 1"
    )
    return {row[0]: _touch(row[1:]) for row in _read(files, query, [business_id], moments)}


def list_next_views(file: SealedFile, limit: int) -> list[int]:
    """Return the ids of the next views to drop, after a check of the digest. Raises BrokenFile."""
    check_file(file)
    query = "SELECT touch_id FROM sealed WHERE click = 0 AND touch_id > ? ORDER BY touch_id LIMIT ?"
    return [touch_id for (touch_id,) in _read([file], query, [file.dropped_through, limit])]


def load_whole[T](
    files: Sequence[SealedFile], read: Callable[[Sequence[SealedFile]], T]
) -> tuple[T, list[BrokenFile]]:
    """Read all files that are whole; return the result of ``read``, and the damaged files."""
    broken: list[BrokenFile] = []
    remaining_files = list(files)
    while True:
        try:
            return read(remaining_files), broken
        except BrokenFile as error:
            broken.append(error)
            remaining_files.remove(error.file)


def _read(
    files: Sequence[SealedFile], query: str, values: list[Any], moments: Iterable[Moment] | None = None
) -> list[Any]:
    """Run a query over ``views``, the dropped views of files; ``sealed`` has all touches."""
    if not files:
        return []
    for file in files:
        check_size(file)
    connection = _connection()
    try:
        with connection.cursor() as db:
            db.execute(f"CREATE TEMP VIEW sealed AS SELECT * FROM {_scan(files)}")
            dropped = [file for file in files if file.dropped_through == ALL_DROPPED]
            parts = [f"SELECT * FROM {_scan(dropped)} WHERE click = 0"] if dropped else []
            parts += [
                f"SELECT * FROM {_scan([file])} WHERE click = 0 AND touch_id <= {file.dropped_through}"
                for file in files
                if file.dropped_through != ALL_DROPPED
            ]
            db.execute(f"CREATE TEMP VIEW views AS {' UNION ALL '.join(parts)}")
            if moments is not None:
                with TemporaryDirectory(prefix="contatto-") as scratch:
                    parquet.create_table(db, "moments", _MOMENTS, kind="TEMP TABLE")
                    parquet.append_rows(db, "moments", _MOMENTS, moments, Path(scratch))
            return list(db.execute(query, values).fetchall())
    except import_module("duckdb").Error:
        for file in files:
            check_file(file)  # names the one that is damaged
        raise


@cache
def _connection() -> Any:
    """Return the DuckDB of this process, loaded at first use because it takes 27 MiB."""
    spill = str(Path(gettempdir()) / "contatto-duckdb")  # by default it is the working directory
    return import_module("duckdb").connect(config=_SETTINGS | {"temp_directory": spill})


def _scan(files: Sequence[SealedFile]) -> str:
    names = ", ".join("'" + str(path_of(file)).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}], hive_partitioning = false)"


def _touch(row: Sequence[Any]) -> Touch:
    return Touch(**dict(zip(_FIELDS.values(), row, strict=True)), kind=TouchKind.VIEW)
