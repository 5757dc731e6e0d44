"""Staging of events for an engine, with local days and windows."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from contatto.kit.timestamps import micros
from contatto.measurement.engines.lines import LINE, Complaint, Events, Setup, Window
from contatto.measurement.engines.parquet import append_rows, create_table
from contatto.measurement.model import AttributionPolicy

if TYPE_CHECKING:
    import duckdb


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)


class ZoneDay(NamedTuple):
    """The offset of a zone within one UTC day, in microseconds: before and from ``change_ts``."""

    before_us: int
    change_ts: int
    after_us: int


def zone_day(timezone: str, utc_day: int) -> ZoneDay:
    """Return the offsets of a zone in a UTC day (counted from 1970), with at most one change."""
    zone = ZoneInfo(timezone)
    start = _EPOCH + utc_day * _DAY
    end = start + _DAY - _SECOND
    before, after = _offset(start, zone), _offset(end, zone)
    changed = end if before == after else _change(start, end, zone)
    return ZoneDay(before, micros(changed), after)


def _change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """Find the first second of the new offset by bisection."""
    before = _offset(start, zone)
    while end - start > _SECOND:
        middle = start + (end - start) // 2 // _SECOND * _SECOND
        if _offset(middle, zone) == before:
            start = middle
        else:
            end = middle
    return end


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return offset // timedelta(microseconds=1)


@cache
def sql_of(dialect: str, name: str) -> str:
    return files("contatto.measurement.engines").joinpath("sql", dialect, f"{name}.sql").read_text("utf-8")


def winners_sql(dialect: str, policy: AttributionPolicy) -> str:
    return sql_of(dialect, f"winners_{policy}")


DEFAULT_CLICK_S: Final = 7 * 86_400
DEFAULT_VIEW_S: Final = 86_400
_FAR: Final = 1 << 60
"""Beyond every instant."""
_LONGEST_S: Final = 10**12
"""A longer window is no different from this one, and fits into 64 bits."""

_RAW: Final = {
    "raw_touches": {
        LINE: "BIGINT",
        "touch_id": "BIGINT",
        "user_id": "VARCHAR",
        "adgroup_id": "VARCHAR",
        "kind": "VARCHAR",
        "ts": "BIGINT",
        "cost_micros": "BIGINT",
    },
    "raw_conversions": {
        LINE: "BIGINT",
        "conversion_id": "BIGINT",
        "user_id": "VARCHAR",
        "business_id": "VARCHAR",
        "kind": "VARCHAR",
        "ts": "BIGINT",
    },
    "businesses": {"business_id": "VARCHAR", "zone": "BIGINT"},
    "spans": {
        "adgroup_id": "VARCHAR",
        "business_id": "VARCHAR",
        "zone": "BIGINT",
        "from_ts": "BIGINT",
        "until_ts": "BIGINT",
        "click_us": "BIGINT",
        "view_us": "BIGINT",
    },
    "zone_days": {
        "zone_day": "BIGINT",
        "before_us": "BIGINT",
        "change_ts": "BIGINT",
        "after_us": "BIGINT",
    },
}
_RESULTS: Final = {
    "attributions": {
        "conversion_id": "BIGINT",
        "touch_id": "BIGINT",
        "adgroup_id": "VARCHAR",
        "click": "BIGINT",
    },
    "report": {
        "adgroup_id": "VARCHAR",
        "day": "DATE",
        "spend_micros": "BIGINT",
        "impressions": "BIGINT",
        "clicks": "BIGINT",
        "conversations": "BIGINT",
        "leads": "BIGINT",
        "rt_conversations": "BIGINT",
        "rt_leads": "BIGINT",
    },
    "unattributed": {"business_id": "VARCHAR", "conversations": "BIGINT", "leads": "BIGINT"},
}
_UTC_DAY: Final = "CASE WHEN {0} % 86400000000 < 0 THEN {0} // 86400000000 - 1 ELSE {0} // 86400000000 END"
_LOCAL_DAY: Final = (
    "make_timestamp({0} + CASE WHEN {0} < z.change_ts THEN z.before_us ELSE z.after_us END)::DATE"
)
_TOUCHES: Final = f"""
CREATE TABLE touches AS
SELECT t.touch_id, s.business_id, t.user_id, t.adgroup_id, (t.kind = 'click')::BIGINT AS click, t.ts,
    t.ts + coalesce(CASE t.kind WHEN 'click' THEN s.click_us ELSE s.view_us END, -1) AS expires_ts,
    {_LOCAL_DAY.format("t.ts")} AS day, t.cost_micros
FROM raw_touches t
JOIN spans s ON t.adgroup_id = s.adgroup_id AND s.from_ts <= t.ts AND t.ts < s.until_ts
JOIN zone_days z ON s.zone + {_UTC_DAY.format("t.ts")} = z.zone_day
"""
_CONVERSIONS: Final = f"""
CREATE TABLE conversions AS
SELECT c.conversion_id, c.business_id, c.user_id, (c.kind = 'lead')::BIGINT AS lead, c.ts,
    {_LOCAL_DAY.format("c.ts")} AS day
FROM raw_conversions c
JOIN businesses b ON c.business_id = b.business_id
JOIN zone_days z ON b.zone + {_UTC_DAY.format("c.ts")} = z.zone_day
"""
_STAMPED: Final = {"touches": _TOUCHES, "conversions": _CONVERSIONS}
_SEEN_DAYS: Final = f"""
SELECT DISTINCT s.zone, {_UTC_DAY.format("t.ts")}
FROM raw_touches t JOIN (SELECT DISTINCT adgroup_id, zone FROM spans) s ON t.adgroup_id = s.adgroup_id
UNION
SELECT DISTINCT b.zone, {_UTC_DAY.format("c.ts")}
FROM raw_conversions c JOIN businesses b ON c.business_id = b.business_id
"""
_ZONE: Final = 1 << 32
"""A zone and a day of it are one number, so that only those are joined which belong together."""


class EngineFailed(Exception):
    """An engine that is not there, or that gave up; its text says what to do."""


def load_package(name: str, extra: str) -> Any:
    """Import a package that only one engine needs.

    Raises:
        EngineFailed: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as missing:
        raise EngineFailed(
            f"this engine needs more packages: pip install 'contatto[{extra}]' ({missing})"
        ) from missing


class Staged:
    """Events on their way to an engine; a context manager, since it holds a folder and a thread.

    Args:
        memory_limit: what DuckDB may use, such as ``1GB``, before it goes to disk; empty for its default.
    """

    def __init__(self, memory_limit: str = "") -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="contatto-")))
        connect = import_module("duckdb").connect  # 27 MiB that a process which stages no events does without
        self.db: duckdb.DuckDBPyConnection = connect(str(self.folder / "events.duckdb"))
        self.db.execute(f"SET temp_directory = '{self.folder / 'spill'}'")
        self.db.execute("SET preserve_insertion_order = false; SET autoinstall_known_extensions = false")
        if memory_limit:
            self.db.execute("SET memory_limit = ?", [memory_limit])
        self._stack.callback(self.db.close)
        self._writer = self._stack.enter_context(ThreadPoolExecutor(1))
        self._writing: Future[None] | None = None
        self.setup = Setup()
        for table, columns in _RAW.items():
            create_table(self.db, table, columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, events: Events) -> None:
        """Take in one chunk of events; it is written while the next one is read."""
        self._settle()
        self._writing = self._writer.submit(self._write_events, events)

    def finish(self, setup: Setup, complain: Complaint) -> None:
        """Stamp all events after the last line; report and drop events with unknown references."""
        self._settle()
        setup.check(complain)
        zones = sorted({row.timezone for row in setup.businesses.values()})
        self.setup = setup
        zone_of = {key: zones.index(row.timezone) * _ZONE for key, row in setup.businesses.items()}
        businesses = [{"business_id": key, "zone": zone} for key, zone in zone_of.items()]
        self._load("businesses", _RAW["businesses"], businesses)
        spans: list[dict[str, object]] = [
            {"adgroup_id": key, "business_id": row.business_id, "zone": zone_of[str(row.business_id)], **span}
            for key, (_, row) in setup.adgroups.items()
            for span in window_spans(setup.windows.get(key, []))
        ]
        self._load("spans", _RAW["spans"], spans)
        self._drop_unknown("raw_touches", "adgroup_id", "spans", complain)
        self._drop_unknown("raw_conversions", "business_id", "businesses", complain)
        self._drop_repeats("raw_touches", "touch_id", "user_id, adgroup_id, kind, cost_micros")
        self._drop_repeats("raw_conversions", "conversion_id", "user_id, business_id, kind")
        seen_days = self.db.execute(_SEEN_DAYS).fetchall()
        days = [(zone + day, zone_day(zones[zone // _ZONE], day)) for zone, day in seen_days]
        self._load("zone_days", _RAW["zone_days"], [{"zone_day": key, **day._asdict()} for key, day in days])
        for stamped, raw in (("touches", "raw_touches"), ("conversions", "raw_conversions")):
            self.db.execute(_STAMPED[stamped])
            self.db.execute(f"DROP TABLE {raw}")

    @property
    def results(self) -> Iterable[str]:
        """The tables that an engine has to fill."""
        return _RESULTS

    def keep(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Keep a result that an engine elsewhere has computed."""
        create_table(self.db, name, _RESULTS[name])
        self._load(name, _RESULTS[name], rows)

    def export_parquet(self, name: str, file: Path) -> None:
        """Write a table of stamped events for an engine that reads files."""
        file.parent.mkdir(parents=True)
        self.db.execute(f"COPY {name} TO '{file}' (FORMAT parquet)")

    def keep_parquet(self, name: str, folder: Path) -> None:
        """Keep a result that an engine has written into a folder of Parquet files: none if it is empty."""
        create_table(self.db, name, _RESULTS[name])
        if any(folder.glob("*.parquet")):
            relation = f"read_parquet('{folder}/*.parquet')"
            self.db.execute(f"INSERT INTO {name} BY NAME SELECT * FROM {relation}")

    def _settle(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write_events(self, events: Events) -> None:
        self._load("raw_touches", _RAW["raw_touches"], events.touches)
        self._load("raw_conversions", _RAW["raw_conversions"], events.conversions)

    def _load(self, table: str, columns: Mapping[str, str], rows: Iterable[object]) -> None:
        append_rows(self.db, table, columns, rows, self.folder)

    def _drop_unknown(self, table: str, column: str, parent: str, complain: Complaint) -> None:
        unknown = f"FROM {table} WHERE {column} NOT IN (SELECT {column} FROM {parent})"
        for line, name in self.db.execute(f'SELECT "{LINE}", {column} {unknown} ORDER BY 1').fetchall():
            complain(line, f"{column} {name!r} has no row of its own")
        self.db.execute(f"DELETE {unknown}")

    def _drop_repeats(self, table: str, key: str, rest: str) -> None:
        """Keep the earliest row of each id: a repeated event counts once, whatever the order of the lines."""
        twice = f"SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1"
        if self.db.execute(f"SELECT count(*) FROM ({twice})").fetchall() == [(0,)]:
            return
        self.db.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT place FROM (SELECT rowid AS place, row_number() OVER"
            f" (PARTITION BY {key} ORDER BY ts, {rest}) AS turn FROM {table} WHERE {key} IN ({twice}))"
            " WHERE turn > 1)"
        )


def window_spans(windows: list[tuple[int, Window]]) -> Iterator[dict[str, int | None]]:
    """Yield the time span of each pair of windows; the defaults are valid before the first row.

    Of rows with equal ``from_ts`` the later line counts.
    """
    rows = sorted(windows, key=lambda each: (each[1].from_ts, each[0]))
    latest = {row.from_ts: (row.click_s, row.view_s) for _, row in rows}
    turns = [(-_FAR, (DEFAULT_CLICK_S, DEFAULT_VIEW_S)), *latest.items()]
    ends = [*(start for start, _ in turns[1:]), _FAR]
    for (start, (click_s, view_s)), end in zip(turns, ends, strict=True):
        yield {"from_ts": start, "until_ts": end, "click_us": _in_us(click_s), "view_us": _in_us(view_s)}


def _in_us(seconds: int | None) -> int | None:
    return None if seconds is None else max(-_LONGEST_S, min(seconds, _LONGEST_S)) * 1_000_000
