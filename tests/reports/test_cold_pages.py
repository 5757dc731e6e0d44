"""With a sealed file gone or cut off, the pages and the API name it, say what to do, and show the rest."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import select

from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings
from contatto.measurement.engines import sealing
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions
from contatto.wiring import install
from contatto.worker import Worker
from tests.background import make_files
from tests.journeys.running import House, running_house
from tests.make import count_days_ahead
from tests.reports.conftest import earn, see

NAME = r"touches/day=\d{4}-\d{2}-\d{2}/part-1\.parquet"


@dataclass
class Old:
    """A house whose first touches are forty days old: their views are in sealed files alone."""

    house: House
    ids: dict[str, str]
    first: datetime
    young: datetime

    @property
    def days(self) -> str:
        first, last = (self.first - timedelta(days=1)).date(), (self.first + timedelta(days=1)).date()
        return f"since={first}&until={last}"

    def file(self, at: datetime) -> Path:
        files = self.house.context.db.read_now(sealing.list_sealed_files)
        (found,) = [file for file in files if file.day == (at + timedelta(hours=8)).date().isoformat()]
        return Path(found.folder) / found.name


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    folder = tmp_path_factory.mktemp("house")
    with running_house(folder, worker="separate") as house:
        ids = house.make_ad("LEAD_GENERATION")
        now = house.context.clock.now()
        first, young = now - timedelta(days=40), now - timedelta(days=10)

        def happen(tx: Tx) -> None:
            for at in (first, young):
                see(tx, house, ids, "a", at)
                earn(tx, house, ConversionKind.LEAD, f"a {at}", at + timedelta(hours=1))
            earn(tx, house, ConversionKind.LEAD, "a", first + timedelta(hours=1))

        db = house.context.db
        db.write_now(happen)
        while db.write_now(count_days_ahead):
            pass
        seal_and_drop(house, folder)
        house.sign_in()
        yield Old(house, ids, first, young)


def seal_and_drop(house: House, folder: Path) -> None:
    """What the worker does by itself."""

    async def work() -> int:
        return await asyncio.to_thread(
            Worker(house.context.db, install(Settings(data_dir=folder))).run_maintenance
        )

    assert asyncio.run(work()) > 1


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(html)).split())


def shown(house: House, address: str) -> str:
    answer = house.client.get(address)
    assert answer.status_code == 200, answer.text
    return words(answer.text)


@pytest.fixture
def cut(old: Old) -> Iterator[Path]:
    """The old day's file, its end cut off by hand; put back afterwards."""
    path = old.file(old.first)
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    yield path
    path.write_bytes(content)


def conversion_of(old: Old) -> int:
    def find(tx: Tx) -> int:
        found = tx.scalar(select(conversions.c.conversion_id).where(conversions.c.subject_id == "of a"))
        return int(found)

    return old.house.context.db.read_now(find)


def test_while_all_files_are_whole_no_page_speaks_of_them(old: Old) -> None:
    for address in (f"/reports?{old.days}", f"/reports/what-if?{old.days}"):
        assert "archive file" not in shown(old.house, address)
    page = shown(old.house, f"/reports/conversions/{conversion_of(old)}")
    assert "archive file" not in page
    assert "Viewed" in page  # read from the file


def test_a_file_cut_off_by_hand_is_named_on_each_page_that_needs_it(old: Old, cut: Path) -> None:
    report = shown(old.house, f"/reports?{old.days}")
    assert re.search(rf"The archive file {NAME} is damaged\.", report)
    assert "are in this file only" in report
    assert "Ask the operator to put the file back from a backup." in report
    assert "0.25" in report  # what was counted is shown
    supposed = shown(old.house, f"/reports/what-if?{old.days}")
    assert re.search(rf"The archive file {NAME} is damaged\.", supposed)
    explained = shown(old.house, f"/reports/conversions/{conversion_of(old)}")
    assert re.search(rf"The archive file {NAME} is damaged\.", explained)
    assert "Credited" in explained  # the tap is in the database
    assert "archive file" not in shown(old.house, "/reports")  # of other days


def test_a_file_that_is_gone_is_told_from_one_that_is_damaged(old: Old) -> None:
    path = old.file(old.first)
    away = path.rename(path.with_name("elsewhere"))
    try:
        assert re.search(rf"The archive file {NAME} is missing\.", shown(old.house, f"/reports?{old.days}"))
    finally:
        away.rename(path)


def test_of_a_day_that_the_database_still_has_the_figures_are_complete(old: Old) -> None:
    path = old.file(old.young)
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    try:
        days = f"since={old.young.date()}&until={(old.young + timedelta(days=1)).date()}"
        report = shown(old.house, f"/reports?{days}")
        assert re.search(rf"The archive file {NAME} is damaged\.", report)
        assert "The figures are complete" in report
    finally:
        path.write_bytes(content)


def test_the_api_refuses_what_it_cannot_tell_in_full_and_says_why(old: Old, cut: Path) -> None:
    asked = {
        "service_type": "AUCTION",
        "report_type": "BASIC",
        "data_level": "AUCTION_ADGROUP",
        "dimensions": ["adgroup_id"],
        "query_lifetime": "True",
    }
    counted = old.house.api("GET", "/report/integrated/get/", **asked, metrics=["spend", "impressions"])
    assert counted["data"]["list"][0]["metrics"]["impressions"] == "2"
    made = old.house.data("POST", "/report/task/create/", **asked, metrics=["reach"])
    make_files(old.house.context.db)
    task = old.house.data("GET", "/report/task/check/", task_id=made["task_id"])
    assert task["status"] == "FAILED"
    assert re.search(rf"The archive file {NAME} is missing or damaged\. Ask the operator", task["message"])
    refused = old.house.api("GET", "/report/integrated/get/", **asked, metrics=["reach"])
    assert refused["code"] == 50000
    assert re.search(rf"The archive file {NAME} is damaged\. Ask the operator", refused["message"])
