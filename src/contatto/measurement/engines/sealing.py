"""Sealed files: days of touches, and all conversions, as sorted Parquet that survives a crash at any moment.

A file is written under a temporary name, brought to the disk, renamed, and its folder brought to the disk;
only then is it listed in the manifest. Its name depends on the day and the part alone, so whoever tries
again after a crash overwrites what was not listed. The columns are those of the definition, so that any
engine can read the folder as it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Final

from contatto.kit.parquet import Layout, digest_of, write_parquet
from contatto.measurement.model import Attribution, ConversionKind, SealedFile, Touch, TouchKind

CONVERSIONS: Final = "conversions/all.parquet"
_TOUCHES: Final = Layout(
    {
        "touch_id": "BIGINT",
        "business_id": "VARCHAR",
        "user_id": "VARCHAR",
        "adgroup_id": "VARCHAR",
        "ad_id": "VARCHAR",
        "ad_account_id": "VARCHAR",
        "click": "BIGINT",
        "ts": "BIGINT",
        "expires_ts": "BIGINT",
        "day": "DATE",
        "cost_micros": "BIGINT",
        "country": "VARCHAR",
    },
    "business_id, user_id, ts, touch_id",
)
_CONVERSIONS: Final = Layout(
    {
        "conversion_id": "BIGINT",
        "business_id": "VARCHAR",
        "user_id": "VARCHAR",
        "lead": "BIGINT",
        "ts": "BIGINT",
        "day": "DATE",
    },
    "business_id, ts",
)


class BrokenFile(OSError):
    """A sealed file that is not as it was written; its text names it.

    Attributes:
        file: which one.
        is_gone: whether it is not there at all.
    """

    def __init__(self, file: SealedFile, what: str, *, is_gone: bool = False) -> None:
        super().__init__(f"{path_of(file)} {what}. Put it back from a backup.")
        self.file = file
        self.is_gone = is_gone


def path_of(file: SealedFile) -> Path:
    return Path(file.folder) / file.name


def moved_files(files: Iterable[SealedFile], folder: Path) -> list[SealedFile]:
    """The files that are not where they were, but here, with where they are now."""
    return [
        replace(file, folder=str(folder))
        for file in files
        if not path_of(file).exists() and (folder / file.name).exists()
    ]


def write_part(
    folder: Path, day: str, touches: Iterable[Touch], before: Sequence[SealedFile]
) -> SealedFile | None:
    """Write the touches of a day that the files before do not hold, or nothing if there are none.

    Raises:
        BrokenFile: one of the files before is gone or damaged.
        OSError: the disk is full, or fails; nothing is left that counts.
    """
    part = len(before) + 1
    name = f"touches/day={day}/part-{part}.parquet"
    held = _held_ids(before)
    rows = (_touch_row(touch) for touch in touches if touch.touch_id not in held)
    path = folder / name
    count = write_parquet(path, _TOUCHES, rows)
    if not count:
        return None
    return SealedFile(name, str(folder), day, part, count, path.stat().st_size, digest_of(path))


def write_conversions(
    folder: Path, conversions: Iterable[Attribution], seen_as: Mapping[str, Sequence[str]]
) -> None:
    """Write all conversions anew, in place of the file before: they are few, and may move or be withdrawn.

    A conversion has a row for its person and one for each viewer that this person is: touches know either.
    """
    write_parquet(
        folder / CONVERSIONS,
        _CONVERSIONS,
        (
            _conversion_row(kept, user_id)
            for kept in conversions
            for user_id in (kept.person_id, *seen_as.get(kept.person_id, ()))
        ),
        keep_empty=True,
    )


def check_file(file: SealedFile) -> None:
    """See that a sealed file is as it was written, to the last bit.

    Raises:
        BrokenFile: it is gone, cut off, or changed.
    """
    check_size(file)
    if digest_of(path_of(file)) != file.sha256:
        raise BrokenFile(file, "is not what was sealed")


def check_size(file: SealedFile) -> None:
    """See that a sealed file is there and whole, as far as its size can tell: quick enough for each reading.

    Raises:
        BrokenFile: it is gone or cut off.
    """
    try:
        size = path_of(file).stat().st_size
    except OSError as error:
        raise BrokenFile(file, "is gone", is_gone=True) from error
    if size != file.size:
        raise BrokenFile(file, f"has {size} bytes instead of {file.size}")


def list_broken(files: Iterable[SealedFile]) -> list[BrokenFile]:
    """What is wrong with the files that are not whole."""
    found: list[BrokenFile] = []
    for file in files:
        try:
            check_size(file)
        except BrokenFile as broken:
            found.append(broken)
    return found


def _held_ids(files: Sequence[SealedFile]) -> set[int]:
    held: set[int] = set()
    for file in files:
        check_file(file)
        query = "SELECT touch_id FROM read_parquet(?)"
        found = import_module("duckdb").execute(query, [str(path_of(file))])
        held.update(touch_id for (touch_id,) in found.fetchall())
    return held


def _touch_row(touch: Touch) -> dict[str, object]:
    return {
        "touch_id": touch.touch_id,
        "business_id": touch.business_id,
        "user_id": touch.person_id,
        "adgroup_id": touch.ad_group_id,
        "ad_id": touch.ad_id,
        "ad_account_id": touch.ad_account_id,
        "click": int(touch.kind is TouchKind.CLICK),
        "ts": touch.ts,
        "expires_ts": touch.expires_ts,
        "day": touch.day,
        "cost_micros": touch.cost_micros,
        "country": touch.country,
    }


def _conversion_row(kept: Attribution, user_id: str) -> dict[str, object]:
    """Without a winner there is no zone either, and the day is that of UTC."""
    utc_day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=kept.ts)).date().isoformat()
    return {
        "conversion_id": kept.conversion_id,
        "business_id": kept.business_id,
        "user_id": user_id,
        "lead": int(kept.kind is ConversionKind.LEAD),
        "ts": kept.ts,
        "day": kept.rt_day or utc_day,
    }
