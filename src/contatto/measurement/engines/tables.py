"""Events as Parquet or CSV: a folder with a table of each type, or one file with a column `type`."""

from pathlib import Path
from typing import Any, Final

import msgspec

from contatto.measurement.engines.lines import (
    EARLIEST,
    LATEST,
    LINE,
    AdGroupSetup,
    BusinessSetup,
    Complaint,
    Config,
    Setup,
    Window,
)
from contatto.measurement.engines.staging import Staged

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
_RAW: Final = {"touch": "raw_touches", "conversion": "raw_conversions"}
_INTEGERS: Final = {
    sign + size for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
}


class MissingTable(ValueError):
    """Error that names a missing table or column."""


def holds_tables(path: Path) -> bool:
    """Report whether a path holds tables, and not JSON Lines."""
    return path.is_dir() or path.suffix.lower() in _READS


def load_tables(staged: Staged, path: Path, complain: Complaint) -> Setup:
    """Load all events of a folder or file, and return its configuration.

    Raises:
        MissingTable: the table of ad groups or of touches is missing, or a column.
    """
    staged.db.execute("SET preserve_insertion_order = true")  # faults have the number of their row
    setup = Setup()
    for name in _SETUP:
        if relation := _relation(path, name):
            _add_setup(staged, setup, name, relation, complain)
    for name in _EVENTS:
        relation = _relation(path, name)
        if relation is None:
            raise MissingTable(f"{path} holds no table `{name}`: put {name}.parquet or {name}.csv there")
        _add_events(staged, name, relation, complain)
    return setup


def _relation(path: Path, name: str) -> str | None:
    """Return the relation with rows of a type; None without any."""
    if not path.is_dir():
        read = _READS[path.suffix.lower()].format(_quoted([path]))
        return f"(SELECT * FROM {read} WHERE \"type\" = '{name}')"
    for suffix, read in _READS.items():
        files = [path / f"{name}{suffix}"] if (path / f"{name}{suffix}").is_file() else []
        files += sorted((path / name).rglob(f"*{suffix}"))
        if files:
            return read.format(_quoted(files))
    return None


def _quoted(files: list[Path]) -> str:
    names = [str(file).replace("'", "''") for file in files]
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _add_setup(staged: Staged, setup: Setup, name: str, relation: str, complain: Complaint) -> None:
    result = staged.db.execute(f"SELECT * FROM {relation}")
    columns = [column[0] for column in result.description or []]
    for number, values in enumerate(result.fetchall(), 1):
        row: dict[str, Any] = dict(zip(columns, values, strict=True)) | {"type": name}
        try:
            setup.add(number, msgspec.convert(row, _SETUP[name], strict=False))
        except ValueError as error:
            complain(number, f"{name}: {error}")


def _add_events(staged: Staged, name: str, relation: str, complain: Complaint) -> None:
    has = {row[0]: row[1] for row in staged.db.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
    if lacking := [column for column in _EVENTS[name] if column not in has]:
        raise MissingTable(f"the table `{name}` has no column {', '.join(lacking)}")
    cleaned = ", ".join(_cleaned(column, says, has[column]) for column, says in _EVENTS[name].items())
    table, columns = _RAW[name], ", ".join(_EVENTS[name])
    staged.db.execute(
        f'INSERT INTO {table} ("{LINE}", {columns}) SELECT row_number() OVER (), {cleaned} FROM {relation}'
    )
    for column, says in _EVENTS[name].items():
        bad = f'SELECT "{LINE}" FROM {table} WHERE {column} IS NULL ORDER BY 1'
        for (line,) in staged.db.execute(bad).fetchall():
            complain(line, f"{name}: {column} is not {says}")
    bad = " OR ".join(f"{column} IS NULL" for column in _EVENTS[name])
    staged.db.execute(f"DELETE FROM {table} WHERE {bad}")


def _cleaned(column: str, says: str, stored: str) -> str:
    """Return the SQL of a column; null for an invalid value."""
    if says == _ID:
        return f"{column}::VARCHAR"
    if says not in {_WHOLE, _MOMENT}:
        allowed = ", ".join(f"'{word}'" for word in says.split(" or "))
        return f"CASE WHEN {column}::VARCHAR IN ({allowed}) THEN {column}::VARCHAR END"
    whole = column if stored in _INTEGERS else f"regexp_extract({column}::VARCHAR, '^-?[0-9]{{1,19}}$')"
    number = f"TRY_CAST({whole} AS BIGINT)"
    if says == _WHOLE:
        return number
    return f"CASE WHEN {number} BETWEEN {EARLIEST} AND {LATEST} THEN {number} END"
