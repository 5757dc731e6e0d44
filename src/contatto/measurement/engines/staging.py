"""Events from files, checked and stored with local days and windows for an engine."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.resources import files
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from contatto.kit.values import micros
from contatto.measurement.engines.parquet import append_rows, columns_of, create_table
from contatto.measurement.model import AttributionPolicy, ConversionKind, Goal, TouchKind

if TYPE_CHECKING:
    import duckdb

CHUNK: Final = 4 << 20
"""Bytes that are read at once, and the longest accepted line."""
LINE: Final = ":line"
"""Column with the number of a line; its colon avoids a clash with fields of files."""
_BOM: Final = b"\xef\xbb\xbf"
_DAY_US: Final = 86_400_000_000
EARLIEST: Final = -719_161 * _DAY_US
LATEST: Final = 2_932_895 * _DAY_US
"""The years 1 to 9999, with a day to spare at both ends for the zones."""

type Id = str | int
type Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
type Moment = Annotated[int, msgspec.Meta(ge=EARLIEST, le=LATEST)]
type Cost = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
type Complaint = Callable[[int, str], None]
"""Callback with the number of a line and its fault."""


class Config(msgspec.Struct, tag="config", tag_field="type"):
    policy: AttributionPolicy


class BusinessSetup(msgspec.Struct, tag="business", tag_field="type"):
    business_id: Id
    timezone: str


class AdGroupSetup(msgspec.Struct, tag="adgroup", tag_field="type"):
    adgroup_id: Id
    business_id: Id
    goal: Goal
    campaign_id: Id


class Window(msgspec.Struct, tag="window", tag_field="type"):
    """The windows in force from a moment on; null means that touches of that kind never count."""

    adgroup_id: Id
    from_ts: Moment
    click_s: Whole | None
    view_s: Whole | None


class TouchLine(msgspec.Struct, tag="touch", tag_field="type", gc=False):
    touch_id: Whole
    user_id: Id
    adgroup_id: Id
    ad_id: Id
    kind: TouchKind
    ts: Moment
    cost_micros: Cost
    line: int = msgspec.field(default=0, name=LINE)


class ConversionLine(msgspec.Struct, tag="conversion", tag_field="type", gc=False):
    conversion_id: Whole
    user_id: Id
    business_id: Id
    kind: ConversionKind
    ts: Moment
    line: int = msgspec.field(default=0, name=LINE)


type Row = Config | BusinessSetup | AdGroupSetup | Window | TouchLine | ConversionLine
_DECODER: Final = msgspec.json.Decoder(Row)


@dataclass(slots=True)
class Setup:
    """The configuration rows of a file by their ids; ids are texts, whether the file has strings or numbers.

    Of two rows with the same id the later one counts. Windows and ad groups have the numbers of their lines.
    """

    policy: AttributionPolicy = AttributionPolicy.CLICK_FIRST
    businesses: dict[str, BusinessSetup] = field(default_factory=dict)
    adgroups: dict[str, tuple[int, AdGroupSetup]] = field(default_factory=dict)
    windows: dict[str, list[tuple[int, Window]]] = field(default_factory=dict)

    def add(self, number: int, row: Config | BusinessSetup | AdGroupSetup | Window) -> None:
        """Add a configuration row. Raises ValueError: it names an unknown time zone."""
        match row:
            case Config():
                self.policy = row.policy
            case BusinessSetup():
                try:
                    ZoneInfo(row.timezone)
                except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                    raise ValueError(f"timezone {row.timezone!r} is no IANA time zone") from error
                self.businesses[str(row.business_id)] = row
            case AdGroupSetup():
                self.adgroups[str(row.adgroup_id)] = (number, row)
            case Window():
                self.windows.setdefault(str(row.adgroup_id), []).append((number, row))


@dataclass(slots=True)
class Events:
    """Touches and conversions of one chunk, each with the number of its line."""

    touches: list[TouchLine] = field(default_factory=list)
    conversions: list[ConversionLine] = field(default_factory=list)


@dataclass(slots=True)
class LineReader:
    """Reader of JSON Lines in chunks: configuration goes to ``setup``, faults to ``complain``."""

    complain: Complaint
    setup: Setup = field(default_factory=Setup)
    _number: int = field(default=1, init=False)

    def events(self, source: BufferedIOBase | RawIOBase) -> Iterator[tuple[int, Events]]:
        """Yield the size and the events of each chunk."""
        for chunk in self._chunks(source):
            events = Events()
            touches, conversions = events.touches.append, events.conversions.append
            for number, row in self._rows(chunk):
                if type(row) is TouchLine:
                    row.line = number
                    touches(row)
                elif type(row) is ConversionLine:
                    row.line = number
                    conversions(row)
                else:
                    try:
                        self.setup.add(number, row)  # type: ignore[arg-type]  # the events went elsewhere
                    except ValueError as error:
                        self.complain(number, str(error))
            yield len(chunk), events

    def _chunks(self, source: BufferedIOBase | RawIOBase) -> Iterator[bytes]:
        """Yield some megabytes of whole lines; a line that is too long is reported and left out."""
        rest = (source.read(len(_BOM)) or b"").removeprefix(_BOM)
        while more := source.read(CHUNK):
            end = more.rfind(b"\n") + 1
            if end:
                yield rest + more[:end]
                rest = b""
            rest += more[end:]
            if len(rest) > CHUNK:
                self.complain(self._number, f"is longer than {CHUNK:,} bytes")
                self._number += 1
                while (more := source.read(CHUNK)) and not (end := more.find(b"\n") + 1):
                    pass
                rest = more[end:] if more else b""
        if rest:
            yield rest

    def _rows(self, chunk: bytes) -> list[tuple[int, Row]]:
        first = self._number
        count = chunk.count(b"\n") + (not chunk.endswith(b"\n") and bool(chunk))
        self._number = first + count
        try:
            rows = _DECODER.decode_lines(chunk)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            rows = []
        if len(rows) == count and b"\n\n" not in chunk:
            return list(enumerate(rows, first))
        numbered: list[tuple[int, Row]] = []
        for number, line in enumerate(chunk.split(b"\n"), first):  # it has blank lines or faults
            if not line.strip():
                continue
            try:
                numbered.append((number, _DECODER.decode(line)))
            except msgspec.MsgspecError as error:
                self.complain(number, str(error))
            except UnicodeDecodeError:
                self.complain(number, "is not UTF-8")
            except RecursionError:
                self.complain(number, "is nested too deeply")
        return numbered


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
    while before != after and end - start > _SECOND:  # the first second of the new offset, by bisection
        middle = start + (end - start) // 2 // _SECOND * _SECOND
        if _offset(middle, zone) == before:
            start = middle
        else:
            end = middle
    return ZoneDay(before, micros(end), after)


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    return (moment.astimezone(zone).utcoffset() or timedelta()) // timedelta(microseconds=1)


@cache
def sql_of(dialect: str, name: str, package: str = "contatto.measurement.engines") -> str:
    """Return a statement that `tools.statements` emitted for an engine."""
    return files(package).joinpath("sql", dialect, f"{name}.sql").read_text("utf-8")


DEFAULT_CLICK_S: Final = 7 * 86_400
DEFAULT_VIEW_S: Final = 86_400
_FAR: Final = 1 << 60
"""Beyond every instant."""
_LONGEST_S: Final = 10**12
"""A longer window is no different from this one, and fits into 64 bits."""

_RAW: Final = {
    "raw_touches": {LINE: "BIGINT"}
    | columns_of(
        "touch_id BIGINT, user_id VARCHAR, adgroup_id VARCHAR, kind VARCHAR, ts BIGINT, cost_micros BIGINT"
    ),
    "raw_conversions": {LINE: "BIGINT"}
    | columns_of("conversion_id BIGINT, user_id VARCHAR, business_id VARCHAR, kind VARCHAR, ts BIGINT"),
    "businesses": columns_of("business_id VARCHAR, zone BIGINT"),
    "spans": columns_of(
        "adgroup_id VARCHAR, business_id VARCHAR, zone BIGINT, from_ts BIGINT, until_ts BIGINT,"
        " click_us BIGINT, view_us BIGINT"
    ),
    "zone_days": columns_of("zone_day BIGINT, before_us BIGINT, change_ts BIGINT, after_us BIGINT"),
}
RESULTS: Final = {
    "attributions": columns_of("conversion_id BIGINT, touch_id BIGINT, adgroup_id VARCHAR, click BIGINT"),
    "report": columns_of(
        "adgroup_id VARCHAR, day DATE, spend_micros BIGINT, impressions BIGINT, clicks BIGINT,"
        " conversations BIGINT, leads BIGINT, rt_conversations BIGINT, rt_leads BIGINT"
    ),
    "unattributed": columns_of("business_id VARCHAR, conversations BIGINT, leads BIGINT"),
}
"""The tables that an engine has to fill."""
_COLUMNS: Final = _RAW | RESULTS
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
_EVENT_TABLES: Final = {"touches": _TOUCHES, "conversions": _CONVERSIONS}
_EVENT_DAYS: Final = f"""
SELECT DISTINCT s.zone, {_UTC_DAY.format("t.ts")}
FROM raw_touches t JOIN (SELECT DISTINCT adgroup_id, zone FROM spans) s ON t.adgroup_id = s.adgroup_id
UNION
SELECT DISTINCT b.zone, {_UTC_DAY.format("c.ts")}
FROM raw_conversions c JOIN businesses b ON c.business_id = b.business_id
"""
_ZONE_STEP: Final = 1 << 32
"""Factor of a zone's index: with a day added, one number joins events to the offsets of their zone."""


class EngineFailed(Exception):
    """An engine that is not there, or that gave up; its text says what to do."""


def load_package(name: str, extra: str) -> Any:
    """Import a package that only one engine needs. Raises EngineFailed: it is not installed."""
    try:
        return import_module(name)
    except ImportError as missing:
        raise EngineFailed(
            f"this engine needs more packages: pip install 'contatto[{extra}]' ({missing})"
        ) from missing


class Staged(ExitStack):
    """Temporary DuckDB with events and results; it spills beyond ``memory_limit``, such as ``1GB``."""

    def __init__(self, memory_limit: str = "") -> None:
        super().__init__()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="contatto-")))
        connect = import_module("duckdb").connect  # it takes 27 MiB, so only staging loads it
        self.db: duckdb.DuckDBPyConnection = connect(str(self.folder / "events.duckdb"))
        self.db.execute(f"SET temp_directory = '{self.folder / 'spill'}'")
        self.db.execute("SET preserve_insertion_order = false; SET autoinstall_known_extensions = false")
        if memory_limit:
            self.db.execute("SET memory_limit = ?", [memory_limit])
        self.callback(self.db.close)
        self._writer = self.enter_context(ThreadPoolExecutor(1))
        self._writing: tuple[Future[None], ...] = ()
        self.setup = Setup()
        for table, columns in _RAW.items():
            create_table(self.db, table, columns)

    def add(self, events: Events) -> None:
        """Write one chunk of events in a thread, while the caller reads the next one."""
        for writing in self._writing:
            writing.result()
        self._writing = (
            self._writer.submit(self.load, "raw_touches", events.touches),
            self._writer.submit(self.load, "raw_conversions", events.conversions),
        )

    def finish(self, setup: Setup, complain: Complaint) -> None:
        """Give all events their days and windows after the last line; report and drop unknown references."""
        for writing in self._writing:
            writing.result()
        for key, (number, adgroup) in list(setup.adgroups.items()):
            if str(adgroup.business_id) not in setup.businesses:
                complain(number, f"business_id {adgroup.business_id!r} has no row of its own")
                del setup.adgroups[key]
        for key in set(setup.windows) - set(setup.adgroups):
            for number, _ in setup.windows[key]:
                complain(number, f"adgroup_id {key!r} has no row of its own")
        zones = sorted({row.timezone for row in setup.businesses.values()})
        self.setup = setup
        zone_of = {key: zones.index(row.timezone) * _ZONE_STEP for key, row in setup.businesses.items()}
        businesses = [{"business_id": key, "zone": zone} for key, zone in zone_of.items()]
        self.load("businesses", businesses)
        spans: list[dict[str, object]] = [
            {"adgroup_id": key, "business_id": row.business_id, "zone": zone_of[str(row.business_id)], **span}
            for key, (_, row) in setup.adgroups.items()
            for span in window_spans(setup.windows.get(key, []))
        ]
        self.load("spans", spans)
        for table, column, parent, key, rest in (
            ("raw_touches", "adgroup_id", "spans", "touch_id", "user_id, adgroup_id, kind, cost_micros"),
            ("raw_conversions", "business_id", "businesses", "conversion_id", "user_id, business_id, kind"),
        ):
            unknown = f"FROM {table} WHERE {column} NOT IN (SELECT {column} FROM {parent})"
            for line, name in self.db.execute(f'SELECT "{LINE}", {column} {unknown} ORDER BY 1').fetchall():
                complain(line, f"{column} {name!r} has no row of its own")
            self.db.execute(f"DELETE {unknown}")
            # A repeated event counts once, by its earliest row, whatever the order of the lines.
            repeated_keys = f"SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1"
            if self.db.execute(f"SELECT count(*) FROM ({repeated_keys})").fetchall() == [(0,)]:
                continue
            self.db.execute(
                f"DELETE FROM {table} WHERE rowid IN (SELECT place FROM (SELECT rowid AS place, row_number()"
                f" OVER (PARTITION BY {key} ORDER BY ts, {rest}) AS turn FROM {table} WHERE {key} IN"
                f" ({repeated_keys})) WHERE turn > 1)"
            )
        event_days = self.db.execute(_EVENT_DAYS).fetchall()
        days = [(zone + day, zone_day(zones[zone // _ZONE_STEP], day)) for zone, day in event_days]
        self.load("zone_days", [{"zone_day": key, **day._asdict()} for key, day in days])
        for table, raw in (("touches", "raw_touches"), ("conversions", "raw_conversions")):
            self.db.execute(_EVENT_TABLES[table])
            self.db.execute(f"DROP TABLE {raw}")

    def export_parquet(self, name: str, file: Path) -> None:
        """Write the touches or the conversions for an engine that reads files."""
        file.parent.mkdir(parents=True)
        self.db.execute(f"COPY {name} TO '{file}' (FORMAT parquet)")

    def keep_parquet(self, name: str, folder: Path) -> None:
        """Store a result that an engine wrote as Parquet files; without a file it has no rows."""
        create_table(self.db, name, RESULTS[name])
        if any(folder.glob("*.parquet")):
            relation = f"read_parquet('{folder}/*.parquet')"
            self.db.execute(f"INSERT INTO {name} BY NAME SELECT * FROM {relation}")

    def load(self, table: str, rows: Iterable[object]) -> None:
        append_rows(self.db, table, _COLUMNS[table], rows, self.folder)


def window_spans(windows: list[tuple[int, Window]]) -> Iterator[dict[str, int | None]]:
    """Yield the span of each pair of windows, the defaults first; of equal times the later line counts."""
    rows = sorted(windows, key=lambda window: (window[1].from_ts, window[0]))
    latest = {row.from_ts: (row.click_s, row.view_s) for _, row in rows}
    starts = [(-_FAR, (DEFAULT_CLICK_S, DEFAULT_VIEW_S)), *latest.items()]
    ends = [*(start for start, _ in starts[1:]), _FAR]
    for (start, (click_s, view_s)), end in zip(starts, ends, strict=True):
        click_us, view_us = (
            None if seconds is None else max(-_LONGEST_S, min(seconds, _LONGEST_S)) * 1_000_000
            for seconds in (click_s, view_s)
        )
        yield {"from_ts": start, "until_ts": end, "click_us": click_us, "view_us": view_us}


_READS: Final = {
    ".parquet": "read_parquet({0}, union_by_name = true)",
    ".csv": "read_csv({0}, all_varchar = true, header = true, union_by_name = true)",
}
_SETUP: Final[dict[str, type[Config | BusinessSetup | AdGroupSetup | Window]]] = {
    "config": Config,
    "business": BusinessSetup,
    "adgroup": AdGroupSetup,
    "window": Window,
}
_WHOLE: Final = "a whole number of 64 bits"
_ID: Final = "an id"
_MOMENT: Final = "a whole number of microseconds within the years 1 to 9999"
_EVENTS: Final = {
    "touch": {
        "touch_id": _WHOLE,
        "user_id": _ID,
        "adgroup_id": _ID,
        "kind": "view or click",
        "ts": _MOMENT,
        "cost_micros": _WHOLE,
    },
    "conversion": {
        "conversion_id": _WHOLE,
        "user_id": _ID,
        "business_id": _ID,
        "kind": "conversation or lead",
        "ts": _MOMENT,
    },
}
"""Columns by table, with the description of valid values, which also selects the check."""
_RAW_TABLES: Final = {"touch": "raw_touches", "conversion": "raw_conversions"}
_INTEGERS: Final = {
    sign + size for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
}


class MissingTable(ValueError):
    """A missing table or column; its text names it."""


def holds_tables(path: Path) -> bool:
    """Report whether a path holds tables, and not JSON Lines."""
    return path.is_dir() or path.suffix.lower() in _READS


def load_tables(staged: Staged, path: Path, complain: Complaint) -> Setup:
    """Load all events of a folder or file; return its configuration. Raises MissingTable."""
    staged.db.execute("SET preserve_insertion_order = true")  # faults have the number of their row
    setup = Setup()
    for name in _SETUP:
        if relation := _relation(path, name):
            result = staged.db.execute(f"SELECT * FROM {relation}")
            columns = [column[0] for column in result.description or []]
            for number, values in enumerate(result.fetchall(), 1):
                row: dict[str, Any] = dict(zip(columns, values, strict=True)) | {"type": name}
                try:
                    setup.add(number, msgspec.convert(row, _SETUP[name], strict=False))
                except ValueError as error:
                    complain(number, f"{name}: {error}")
    for name in _EVENTS:
        relation = _relation(path, name)
        if relation is None:
            raise MissingTable(f"{path} holds no table `{name}`: put {name}.parquet or {name}.csv there")
        types = {row[0]: row[1] for row in staged.db.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
        if missing_columns := [column for column in _EVENTS[name] if column not in types]:
            raise MissingTable(f"the table `{name}` has no column {', '.join(missing_columns)}")
        sql = ", ".join(_column(column, rule, types[column]) for column, rule in _EVENTS[name].items())
        table, event_columns = _RAW_TABLES[name], ", ".join(_EVENTS[name])
        staged.db.execute(
            f'INSERT INTO {table} ("{LINE}", {event_columns}) '
            f"SELECT row_number() OVER (), {sql} FROM {relation}"
        )
        for column, rule in _EVENTS[name].items():
            bad = f'SELECT "{LINE}" FROM {table} WHERE {column} IS NULL ORDER BY 1'
            for (line,) in staged.db.execute(bad).fetchall():
                complain(line, f"{name}: {column} is not {rule}")
        bad = " OR ".join(f"{column} IS NULL" for column in _EVENTS[name])
        staged.db.execute(f"DELETE FROM {table} WHERE {bad}")
    return setup


def _relation(path: Path, name: str) -> str | None:
    """Return the relation with rows of a type; None without any."""
    if not path.is_dir():
        read = _READS[path.suffix.lower()].format(_quote_files([path]))
        return f"(SELECT * FROM {read} WHERE \"type\" = '{name}')"
    for suffix, read in _READS.items():
        files = [path / f"{name}{suffix}"] if (path / f"{name}{suffix}").is_file() else []
        files += sorted((path / name).rglob(f"*{suffix}"))
        if files:
            return read.format(_quote_files(files))
    return None


def _quote_files(files: list[Path]) -> str:
    names = [str(file).replace("'", "''") for file in files]
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _column(column: str, rule: str, stored: str) -> str:
    """Return the SQL of a column; null for an invalid value."""
    if rule == _ID:
        return f"{column}::VARCHAR"
    if rule not in {_WHOLE, _MOMENT}:
        allowed = ", ".join(f"'{word}'" for word in rule.split(" or "))
        return f"CASE WHEN {column}::VARCHAR IN ({allowed}) THEN {column}::VARCHAR END"
    whole = column if stored in _INTEGERS else f"regexp_extract({column}::VARCHAR, '^-?[0-9]{{1,19}}$')"
    number = f"TRY_CAST({whole} AS BIGINT)"
    if rule == _WHOLE:
        return number
    return f"CASE WHEN {number} BETWEEN {EARLIEST} AND {LATEST} THEN {number} END"
