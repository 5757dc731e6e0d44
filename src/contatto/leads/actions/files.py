"""Files of leads for API clients: requests, sealed content, and deletion."""

from typing import Final

from contatto.accounts.model import AdAccount
from contatto.kit import errors
from contatto.kit.background import LEASE
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.leads.rules.filters import KEEP, LINK, FileState, LeadFile
from contatto.leads.store.jobs import (
    delete_contents,
    delete_old_files,
    find_file_content,
    find_waiting_file,
    mark_file_claimed,
    mark_file_renewed,
    record_file,
    save_lead_file,
)

MOST_TRIES: Final = 3
"""Claims after which a file is given up: it seems to break whoever makes it."""


def queue_lead_file(tx: Tx, account: AdAccount, page_number: int = 0, ad_number: int = 0) -> LeadFile:
    """Have the leads of a form or of an ad made into a file in the background."""
    file = LeadFile(
        new_id(), account.business_id, new_number(), account.id, page_number, ad_number, FileState.CREATED,
        "", tx.now, tx.now,
    )  # fmt: skip
    save_lead_file(tx, file)
    return file


def claim_lead_file(tx: Tx, business_id: str) -> LeadFile | None:
    """Take the next file of a business, to make it; one that was taken too often is given up."""
    while (file := find_waiting_file(tx, business_id)) is not None:
        if file.attempts < MOST_TRIES:
            mark_file_claimed(tx, file, tx.now + LEASE)
            return file
        record_file(tx, file, FileState.FAILED)
    return None


def renew_lead_file(tx: Tx, file: LeadFile) -> None:
    """Keep a file that takes long from being taken by another."""
    mark_file_renewed(tx, file, tx.now + LEASE)


def keep_lead_file(tx: Tx, file: LeadFile, content: bytes, file_type: str) -> None:
    """Save the content of a file, sealed, for as long as clients can fetch it."""
    record_file(tx, file, FileState.SUCCEED, content, file_type)


def fail_lead_file(tx: Tx, file: LeadFile) -> None:
    record_file(tx, file, FileState.FAILED)


def load_file_content(tx: Tx, file: LeadFile) -> bytes:
    """Content of a file of leads.

    Raises:
        Refused: TASK_NOT_READY, TASK_FAILED, or LINK_EXPIRED.
    """
    if file.state is FileState.CREATED:
        raise Refused(errors.TASK_NOT_READY, f"task_id: the task is {file.state.value}.")
    if file.state is FileState.FAILED:
        raise Refused(errors.TASK_FAILED)
    content = find_file_content(tx, file.business_id, file.number)
    if content is None or file.finished_at is None or file.finished_at + LINK < tx.now:
        raise Refused(errors.LINK_EXPIRED)
    return content


def purge_lead_files(tx: Tx) -> int:
    """Drop what can no longer be fetched, and tasks of yesterday; say how many."""
    return delete_contents(tx, tx.now - LINK) + delete_old_files(tx, tx.now - KEEP)
