"""Sealed files hold every touch once, whatever interrupts the sealing, and say when they are damaged."""

import asyncio
import resource
import sqlite3
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contatto.cli.models import check_sealed, seal_files
from contatto.kit.background import run_maintenance_job
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.settings import Settings
from contatto.kit.values import micros
from contatto.measurement.actions import NewConversion, record_conversions, sealing_job
from contatto.measurement.engines import sealing
from contatto.measurement.engines.sealing import BrokenFile
from contatto.measurement.model import ConversionKind, MeasuredAd
from contatto.wiring import install
from contatto.worker import Worker
from tests import make
from tests.make import record_touch
from tests.measurement.writer_deaths import DEATHS, let_writer_die

DAY = timedelta(days=1)
DAYS = 2


class Stopped(Exception):
    """The process dies here."""


@pytest.fixture
def clock() -> FixedClock:
    """The 5th of January: three days are two days old."""
    return FixedClock(make.NOON + 4 * DAY)


def told(db: Database, days: int = 4) -> MeasuredAd:
    """Three touches a day from the 1st of January on, and a lead."""

    def tell(tx: Tx) -> MeasuredAd:
        owner = make.business(tx).id
        ad = make.published_ad(tx, owner, timezone="UTC")
        for day in range(days):
            for person in ("c", "a", "b"):
                record_touch(tx, make.touch(ad, at=make.NOON + day * DAY, person_id=person))
        record_conversions(
            tx, [NewConversion(owner, "a", ConversionKind.LEAD, "lead", micros(make.NOON + 2 * DAY))]
        )
        return ad

    return db.write_now(tell)


def sealed(folder: Path, what: str = "touches/*/*") -> list[tuple[object, ...]]:
    return duckdb.execute(
        f"SELECT day::VARCHAR, user_id, touch_id FROM read_parquet('{folder}/{what}.parquet')"  # noqa: S608
    ).fetchall()


def listed(db: Database, folder: Path) -> list[tuple[str, int]]:
    files = db.read_now(sealing.list_sealed_files)
    assert all(Path(file.folder) == folder for file in files)
    return [(file.name, file.touches) for file in files]


def test_old_days_are_sealed_sorted_and_once(database: Database, tmp_path: Path) -> None:
    told(database)
    for _ in range(2):
        seal_files(database, sealing_job(tmp_path, DAYS))
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
    seal_files(database, sealing_job(tmp_path, DAYS))
    late = make.touch(ad, at=make.NOON, person_id="late")
    for _ in range(2):
        database.write_now(lambda tx: record_touch(tx, late))
        seal_files(database, sealing_job(tmp_path, DAYS))
    assert ("touches/day=2026-01-01/part-2.parquet", 1) in listed(database, tmp_path)
    rows = sealed(tmp_path)
    assert len(rows) == len({row[2] for row in rows}) == 10


def dies(*_: object, **__: object) -> None:
    raise Stopped


STEPS = {
    "before it is listed": ("contatto.measurement.engines.sealing.append_sealed_file", dies),
    "after it is listed": ("contatto.measurement.engines.sealing.write_conversions", dies),
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("step", [*DEATHS, *STEPS])
def test_killed_at_any_step_the_next_run_ends_the_same(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    told(database)
    with monkeypatch.context() as patch:
        if step in DEATHS:
            let_writer_die(patch, step)
        else:
            patch.setattr(*STEPS[step])
        with pytest.raises((Stopped, RuntimeError)):
            seal_files(database, sealing_job(tmp_path, DAYS))
    seal_files(database, sealing_job(tmp_path, DAYS))
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

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    folder = tmp_path / "sealed"
    with monkeypatch.context() as patch:
        limited = partial(subprocess.Popen, preexec_fn=limit_files)
        patch.setattr(subprocess, "Popen", limited)
        with pytest.raises(OSError, match=r"part-1\.parquet.*File too large"):
            seal_files(database, sealing_job(folder, DAYS))
    assert listed(database, folder) == []
    assert [path.name for path in folder.rglob("*.*")] == ["in-use.lock"]
    seal_files(database, sealing_job(folder, DAYS))
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
    seal_files(database, sealing_job(tmp_path, DAYS))
    harm(tmp_path / "touches" / "day=2026-01-02" / "part-1.parquet")
    with pytest.raises(BrokenFile, match=rf"day=2026-01-02/part-1\.parquet.*{says}"):
        check_sealed(database)
    database.write_now(lambda tx: record_touch(tx, make.touch(ad, at=make.NOON + DAY, person_id="late")))
    with pytest.raises(BrokenFile, match=says):
        seal_files(database, sealing_job(tmp_path, DAYS))
    assert len(listed(database, tmp_path)) == 3


def work_once(db: Database, folder: Path) -> int:
    """What the worker does by itself."""

    async def work() -> int:
        return await asyncio.to_thread(Worker(db, install(Settings(data_dir=folder))).run_maintenance)

    return asyncio.run(work())


def test_the_worker_seals_finished_days_by_itself(database: Database, tmp_path: Path) -> None:
    told(database)
    assert work_once(database, tmp_path) == 4  # three days, and the conversions
    assert work_once(database, tmp_path) == 0
    assert len(sealed(tmp_path / "sealed")) == 9
    check_sealed(database)


def test_who_seals_is_alone(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(database)
    (tmp_path / "sealed").mkdir()
    with closing(sqlite3.connect(tmp_path / "sealed" / "in-use.lock", isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        assert work_once(database, tmp_path) == 0
        seal_files(database, sealing_job(tmp_path / "sealed", DAYS))
    assert listed(database, tmp_path / "sealed") == []
    assert "Somebody else is sealing" in capsys.readouterr().out
    assert work_once(database, tmp_path) == 4


def test_many_workers_at_once_seal_each_day_once(database: Database, tmp_path: Path) -> None:
    told(database)
    with ThreadPoolExecutor(4) as threads:
        done = list(
            threads.map(lambda _: run_maintenance_job(database, sealing_job(tmp_path, DAYS)), range(4))
        )
    assert sum(count or 0 for count in done) == 4
    assert len(listed(database, tmp_path)) == 3
    check_sealed(database)


def test_a_folder_that_was_moved_is_found_where_it_is_now(database: Database, tmp_path: Path) -> None:
    told(database)
    seal_files(database, sealing_job(tmp_path / "before", DAYS))
    (tmp_path / "before").rename(tmp_path / "now")
    with pytest.raises(BrokenFile, match="is gone"):
        check_sealed(database)
    seal_files(database, sealing_job(tmp_path / "now", DAYS))
    assert len(listed(database, tmp_path / "now")) == 3
    check_sealed(database)


def test_another_file_in_the_place_of_a_sealed_one_is_not_taken(database: Database, tmp_path: Path) -> None:
    told(database)
    seal_files(database, sealing_job(tmp_path / "before", DAYS))
    (tmp_path / "before").rename(tmp_path / "now")
    (tmp_path / "now/touches/day=2026-01-02/part-1.parquet").write_bytes(b"another")
    with pytest.raises(BrokenFile, match=r"now.*day=2026-01-02"):
        seal_files(database, sealing_job(tmp_path / "now", DAYS))
    assert {file.folder for file in database.read_now(sealing.list_sealed_files)} == {
        str(tmp_path / "before"),
        str(tmp_path / "now"),
    }


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({}, "/d/sealed"),
        ({"sealed_dir": "/x"}, "/x"),
        ({"seal_after_days": 0}, None),
        ({"database_url": "postgresql://h/d"}, None),
        ({"database_url": "postgresql://h/d", "sealed_dir": "/x"}, "/x"),
    ],
)
def test_where_days_are_sealed_by_themselves(settings: dict[str, Any], folder: str | None) -> None:
    assert Settings(data_dir=Path("/d"), **settings).sealed_folder == (folder and Path(folder))
