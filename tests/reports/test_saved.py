"""Saved reports: whose they are, who sees them, and how many there may be."""

import pytest

from contatto.kit.db.database import Database
from contatto.kit.errors import Refused
from contatto.reports.actions.saved import MOST_SAVED, drop_report, keep_report
from contatto.reports.store.saved import list_saved_reports
from tests.unchanged import nothing_changes

ANA, BO, STRANGER = ("business", "ana"), ("business", "bo"), ("another", "ana")


def names(database: Database, owner: tuple[str, str]) -> list[str]:
    return [report.name for report in database.read_now(lambda tx: list_saved_reports(tx, *owner))]


def test_a_shared_report_is_there_for_all_members_and_no_other_business(database: Database) -> None:
    database.write_now(lambda tx: keep_report(tx, ANA, "Mine", "by=ad"))
    database.write_now(lambda tx: keep_report(tx, ANA, "Ours", "by=day", is_shared=True))
    assert sorted(names(database, ANA)) == ["Mine", "Ours"]
    assert names(database, BO) == ["Ours"]
    assert names(database, STRANGER) == []


@pytest.mark.parametrize("somebody", [BO, STRANGER])
def test_nobody_removes_the_report_of_somebody_else(database: Database, somebody: tuple[str, str]) -> None:
    kept = database.write_now(lambda tx: keep_report(tx, ANA, "Ours", "by=day", is_shared=True))
    with nothing_changes(database), pytest.raises(Refused):
        database.write_now(lambda tx: drop_report(tx, somebody, kept.id))
    database.write_now(lambda tx: drop_report(tx, ANA, kept.id))
    assert names(database, BO) == []


def test_a_member_keeps_so_many_and_no_more(database: Database) -> None:
    for number in range(MOST_SAVED):
        database.write_now(lambda tx, number=number: keep_report(tx, ANA, f"Report {number}", ""))  # type: ignore[misc]
    with pytest.raises(Refused, match="Remove one first"):
        database.write_now(lambda tx: keep_report(tx, ANA, "One more", ""))
    database.write_now(lambda tx: keep_report(tx, BO, "Another's first", ""))
