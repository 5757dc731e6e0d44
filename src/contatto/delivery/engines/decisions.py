"""Files of decisions: what the log of a business got on a day, as sorted Parquet for training elsewhere.

A file holds numbers, hashes and ids. What a request said is in there as hashed features alone, so no word of
it, and no contact value that a publisher put there by mistake, leaves the sealed log. Files are by business,
since only so can one forget a person without all others being written anew.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from contatto.delivery.model.files import DecisionFile
from contatto.delivery.model.log import Entry, EntryKind, Record
from contatto.kit.parquet import Layout, copy_to_file, digest_of, sync, write_parquet

LAYOUT: Final = Layout(
    {
        "business_id": "VARCHAR",
        "seq": "BIGINT",
        "kind": "VARCHAR",
        "nonce": "BIGINT",
        "ts": "BIGINT",
        "arrived_ts": "BIGINT",
        "user_id": "VARCHAR",
        "said": "VARCHAR",
        "ad": "BIGINT",
        "ad_group": "BIGINT",
        "model": "BIGINT",
        "propensity": "DOUBLE",
        "price_micros": "BIGINT",
        "offer_micros": "BIGINT",
        "floor_micros": "BIGINT",
        "placement": "VARCHAR",
        "trial": "BIGINT",
        "country": "VARCHAR",
        "p": "DOUBLE[]",
        "raw": "DOUBLE[]",
        "hashes": "BIGINT[]",
        "weights": "FLOAT[]",
        "kinds": "INTEGER[]",
        "between": "BIGINT[]",
    },
    "nonce, seq",
)
"""One row for each entry: the columns from ``ad`` on are those of a decision, and null in other rows.

``user_id`` is whom a decision was for (a pseudonym), or who saw or tapped; empty for nobody. ``said`` is a
word of what became of it. ``p`` are the estimates by head (click, conversation, lead, spam, unqualified),
``raw`` those before calibration; ``hashes``, ``weights``, ``kinds`` and ``between`` the features as they
were, numbers of 64 bits as signed ones.
"""
_FEATURES: Final = {"hashes": "BIGINT[]", "weights": "FLOAT[]", "kinds": "INTEGER[]", "between": "BIGINT[]"}
_THEIRS: Final = "(nonce IN (FROM theirs) OR user_id IN (FROM persons))"
_BLANK: Final = ", ".join(
    [
        f"CASE WHEN {_THEIRS} THEN '' ELSE user_id END AS user_id",
        *(f"CASE WHEN {_THEIRS} AND len({name}) > 0 THEN [] ELSE {name} END AS {name}" for name in _FEATURES),
    ]
)
_NEW: Final = ".new"


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry, with its decision if it is one, and what else was said, opened."""

    entry: Entry
    record: Record | None = None
    said: str = ""
    ts: int = 0


def path_of(file: DecisionFile) -> Path:
    return Path(file.folder) / file.name


def write_decisions(folder: Path, business_id: str, day: str, some: Iterable[Logged]) -> DecisionFile:
    """Write entries that a log got on a day; what a crash left under the same name is replaced.

    Raises:
        OSError: the disk is full, or fails; nothing is left that counts.
    """
    seqs: list[int] = []

    def rows() -> Iterable[dict[str, object]]:
        for each in some:
            seqs.append(each.entry.seq)
            yield _row_of(each)

    held = iter(rows())
    first = next(held)
    name = f"decisions/day={day}/business={business_id}/part-{seqs[0]}.parquet"
    path = folder / name
    count = write_parquet(path, LAYOUT, _chain(first, held))
    return DecisionFile(
        business_id, name, str(folder), day, seqs[0], seqs[-1], count, path.stat().st_size, digest_of(path)
    )


def _chain(first: dict[str, object], others: Iterable[dict[str, object]]) -> Iterable[dict[str, object]]:
    yield first
    yield from others


def _row_of(logged: Logged) -> dict[str, object]:
    entry, record = logged.entry, logged.record
    row: dict[str, object] = {
        "business_id": entry.business_id,
        "seq": entry.seq,
        "kind": entry.kind.value,
        "nonce": entry.nonce,
        "ts": logged.ts or entry.ts,
        "arrived_ts": entry.arrived_ts or entry.ts,
        "user_id": entry.person_id or "",
        "said": logged.said,
    }
    return row if record is None else row | _decision_of(record)


def _decision_of(record: Record) -> dict[str, object]:
    shown = record.shown
    features: dict[str, object] = {name: [] for name in _FEATURES}
    if shown is not None:
        features = {
            "hashes": np.frombuffer(shown.hashes, np.int64).tolist(),
            "weights": np.frombuffer(shown.values, np.float32).tolist(),
            "kinds": np.frombuffer(shown.kinds, np.uint8).tolist(),
            "between": np.frombuffer(shown.between, np.int64).tolist(),
        }
    return {
        "ad": record.ad,
        "ad_group": record.ad_group,
        "model": record.version,
        "propensity": record.propensity,
        "price_micros": record.price_micros,
        "offer_micros": record.offer_micros,
        "floor_micros": record.floor_micros,
        "placement": record.placement,
        "trial": record.trial,
        "country": record.country,
        "p": list(record.p),
        "raw": list(record.raw),
    } | features


def check_decisions(file: DecisionFile) -> None:
    """See that a file is as it was written, to the last bit.

    Raises:
        OSError: it is gone or changed; the text names it.
    """
    path = path_of(file)
    fault = "" if path.exists() else "is gone"
    if not fault and (path.stat().st_size != file.size or digest_of(path) != file.sha256):
        fault = "is not what was written"
    if fault:
        raise OSError(f"{path} {fault}. Put it back from a backup.")


def moved_decisions(files: Iterable[DecisionFile], folder: Path) -> list[DecisionFile]:
    """The files that are not where they were, but here, with where they are now."""
    return [
        replace(file, folder=str(folder))
        for file in files
        if not path_of(file).exists() and (folder / file.name).exists()
    ]


def forget_in_files(files: Sequence[DecisionFile], persons: Collection[str]) -> list[DecisionFile]:
    """Write the files that hold some persons anew, beside themselves; `take_new_files` puts them in place.

    Persons are viewers by any of their ids. What they did stays, as done by nobody; their decisions lose the
    features, and keep what they cost.

    Returns:
        Those files as they will be.

    Raises:
        OSError: one of the files is gone or changed, or the disk fails.
    """
    if not files:  # DuckDB reads no empty list of files
        return []
    for file in files:
        check_decisions(file)
    found: list[DecisionFile] = []
    with import_module("duckdb").connect() as db:
        _find_theirs(db, [str(path_of(file)) for file in files], sorted(persons))
        for file in files:
            source = str(path_of(file)).replace("'", "''")
            rows = f"read_parquet('{source}', hive_partitioning = false)"
            if db.execute(f"SELECT 1 FROM {rows} WHERE {_THEIRS} LIMIT 1").fetchall():
                made = _new_of(file)
                copy_to_file(db, f"SELECT * REPLACE ({_BLANK}) FROM {rows} ORDER BY {LAYOUT.order}", made)
                found.append(replace(file, size=made.stat().st_size, sha256=digest_of(made)))
    return found


def _find_theirs(db: Any, paths: list[str], persons: list[str]) -> None:
    """Fill a table with the impressions of some persons, and of the viewers whom these show them to be."""
    db.execute("CREATE TABLE persons AS SELECT unnest(?::VARCHAR[]) AS user_id", [persons])
    db.execute(
        "CREATE TABLE entries AS SELECT nonce, kind, user_id FROM read_parquet(?, hive_partitioning = false)"
        " WHERE user_id <> ''",
        [paths],
    )
    seen = "SELECT DISTINCT nonce FROM entries SEMI JOIN persons USING (user_id) WHERE nonce <> 0"
    db.execute(
        f"INSERT INTO persons SELECT DISTINCT user_id FROM entries SEMI JOIN ({seen}) USING (nonce)"
        f" WHERE kind = '{EntryKind.DECISION}'"
    )
    db.execute(f"CREATE TABLE theirs AS {seen}")


def has_new_files(files: Iterable[DecisionFile]) -> bool:
    """Return whether any file was written anew beside itself."""
    return any(_new_of(file).exists() for file in files)


def take_new_files(files: Iterable[DecisionFile]) -> None:
    """Put files that were written anew in their places, if the list tells of them; else drop them."""
    for file in files:
        made = _new_of(file)
        if not made.exists():
            continue
        if digest_of(made) == file.sha256:
            made.replace(path_of(file))
        else:
            made.unlink()
        sync(made.parent)


def _new_of(file: DecisionFile) -> Path:
    path = path_of(file)
    return path.with_name(path.name + _NEW)


def drop_file(file: DecisionFile) -> None:
    """Delete a file that has come of age."""
    for path in (path_of(file), _new_of(file)):
        path.unlink(missing_ok=True)
