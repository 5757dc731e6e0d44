"""Keeping questions of the report page under a name."""

from typing import Final

from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.reports.model import SavedReport
from contatto.reports.store import saved as store

MOST_SAVED: Final = 50
LONGEST_NAME: Final = 60


def keep_report(
    tx: Tx, owner: tuple[str, str], name: str, query: str, *, is_shared: bool = False
) -> SavedReport:
    """Keep a question for a member of a business.

    Raises:
        Refused: INVALID without a name, or with too many reports kept.
    """
    business_id, member_id = owner
    title = " ".join(name.split())[:LONGEST_NAME]
    if not title:
        raise Refused(errors.INVALID, "name: Enter a name for the report.")
    tx.hold_key("saved reports", business_id, member_id)
    if store.count_saved_reports(tx, business_id, member_id) >= MOST_SAVED:
        raise Refused(
            errors.INVALID,
            "name: You can save up to %(most)s reports. Remove one first.",
            most=MOST_SAVED,
        )
    report = SavedReport(new_id(), business_id, member_id, title, query, is_shared, tx.now)
    store.save_report(tx, report)
    return report


def drop_report(tx: Tx, owner: tuple[str, str], report_id: str) -> None:
    """Remove a report that the member keeps.

    Raises:
        Refused: NOT_FOUND, also for one that somebody else shares.
    """
    business_id, member_id = owner
    saved_report = store.find_saved_report(tx, business_id, report_id)
    if saved_report is None or saved_report.member_id != member_id:
        raise Refused(errors.NOT_FOUND, "Saved report not found.")
    store.delete_saved_report(tx, business_id, report_id)
