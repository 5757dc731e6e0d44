"""Sealed files hold every touch once, whatever interrupts the sealing, and say when they are damaged."""

import errno
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from contatto.cli.seal import check_sealed, seal_days
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.moments import micros
from contatto.measurement import store
from contatto.measurement.actions import Earned, record_conversion, record_touch
from contatto.measurement.engines import sealing
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import ConversionKind, MeasuredAd
from tests import make

DAY = timedelta(days=1)
LAST = "2026-01-03"


class Stopped(Exception):
    """The process dies here."""


def told(db: Database, days: int = 4) -> MeasuredAd:
    """Three touches a day from the 1st of January on, and a lead."""

    def tell(tx: Tx) -> MeasuredAd:
        owner = make.business(tx).id
        ad = make.published_ad(tx, owner, timezone="UTC")
        for day in range(days):
            for person in ("c", "a", "b"):
                record_touch(tx, make.touch(ad, at=make.NOON + day * DAY, person_id=person))
        record_conversion(tx, Earned(owner, "a", ConversionKind.LEAD, "lead", micros(make.NOON + 2 * DAY)))
        return ad

    return db.write_now(tell)


def sealed(folder: Path, what: str = "touches/*/*") -> list[tuple[object, ...]]:
    return duckdb.execute(
        f"SELECT day::VARCHAR, user_id, touch_id FROM read_parquet('{folder}/{what}.parquet')"  # noqa: S608
    ).fetchall()


def listed(db: Database, folder: Path) -> list[tuple[str, int]]:
    files = db.read_now(store.list_sealed_files)
    assert all(Path(file.folder) == folder for file in files)
    return [(file.name, file.touches) for file in files]


def test_old_days_are_sealed_sorted_and_once(database: Database, tmp_path: Path) -> None:
    told(database)
    for _ in range(2):
        seal_days(database, tmp_path, LAST)
    assert listed(database, tmp_path) == [
        (f"touches/day=2026-01-0{day}/part-1.parquet", 3) for day in (1, 2, 3)
    ]
    assert [row[1] for row in sealed(tmp_path, "touches/day=2026-01-01/part-1")] == ["a", "b", "c"]
    check_sealed(database)
    found = duckdb.execute(
        "SELECT user_id, lead, day::VARCHAR FROM read_parquet(?)", [str(tmp_path / sealing.CONVERSIONS)]
    )
    assert found.fetchall() == [("a", 1, "2026-01-03")]


def test_a_late_touch_goes_into_a_part_of_its_own(database: Database, tmp_path: Path) -> None:
    ad = told(database)
    seal_days(database, tmp_path, LAST)
    late = make.touch(ad, at=make.NOON, person_id="late")
    for _ in range(2):
        database.write_now(lambda tx: record_touch(tx, late))
        seal_days(database, tmp_path, LAST)
    assert ("touches/day=2026-01-01/part-2.parquet", 1) in listed(database, tmp_path)
    rows = sealed(tmp_path)
    assert len(rows) == len({row[2] for row in rows}) == 10


def dies(*_: object, **__: object) -> None:
    raise Stopped


def dies_after(work: Callable[..., object]) -> Callable[..., object]:
    def whole(*arguments: object) -> None:
        work(*arguments)
        raise Stopped

    return whole


STEPS = {
    "before the file is on the disk": ("contatto.measurement.engines.sealing.sync", dies),
    "before it has its name": ("pathlib.Path.replace", dies),
    "after it has its name": ("pathlib.Path.replace", dies_after(Path.replace)),
    "before it is listed": ("contatto.cli.seal.record_sealed_file", dies),
    "after it is listed": ("contatto.cli.seal.write_conversions", dies),
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_next_run_ends_the_same(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    told(database)
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step])
        with pytest.raises(Stopped):
            seal_days(database, tmp_path, LAST)
    seal_days(database, tmp_path, LAST)
    check_sealed(database)
    rows = sealed(tmp_path)
    assert len(rows) == len({row[2] for row in rows}) == 9
    assert len(listed(database, tmp_path)) == 3
    assert list(tmp_path.rglob("*.tmp")) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_full_disk_is_told_and_leaves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(database)

    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "sealed"
    with monkeypatch.context() as patch:
        patch.setattr(sealing, "sync", full)
        with pytest.raises(OSError, match=r"part-1\.parquet.*No space left"):
            seal_days(database, folder, LAST)
    assert listed(database, folder) == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    seal_days(database, folder, LAST)
    assert len(listed(database, folder)) == 3


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "bytes instead of"),
        (lambda path: path.write_bytes(bytes(1) + path.read_bytes()[1:]), "is not what was sealed"),
        (lambda path: path.unlink(), "is gone"),
    ],
    ids=["cut off", "changed", "gone"],
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_damaged_file_is_named_and_not_built_upon(
    database: Database, tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    ad = told(database)
    seal_days(database, tmp_path, LAST)
    harm(tmp_path / "touches" / "day=2026-01-02" / "part-1.parquet")
    with pytest.raises(BrokenFile, match=rf"day=2026-01-02/part-1\.parquet.*{says}"):
        check_sealed(database)
    database.write_now(lambda tx: record_touch(tx, make.touch(ad, at=make.NOON + DAY, person_id="late")))
    with pytest.raises(BrokenFile, match=says):
        seal_days(database, tmp_path, LAST)
    assert len(listed(database, tmp_path)) == 3
