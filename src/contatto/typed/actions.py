"""Keeping the answers to forms, and showing them again to who was answered."""

from datetime import timedelta
from typing import Final

from contatto.accounts.model import Business, Member
from contatto.audit.actions import append_audit_record
from contatto.audit.model import AuditRecord
from contatto.kit.db.tx import Tx
from contatto.kit.ids import hash_secret
from contatto.typed import store
from contatto.typed.model import KeptPage

KEEP_PAGES: Final = timedelta(hours=12)
MOST_PAGES: Final = 30
"""Of one member."""


def keep_page(tx: Tx, page: KeptPage) -> None:
    """Keep a page; the oldest of its member make room."""
    store.save_kept_page(tx, page)
    store.delete_older_pages(tx, page.business_id, page.member_id, MOST_PAGES)


def find_kept_page(tx: Tx, whose: tuple[Member, Business], session_hash: str, token: str) -> KeptPage | None:
    """A page that was kept for this very session, while its member has the role that it was made for."""
    member, business = whose
    page = store.find_kept_page(tx, business.id, hash_secret(token))
    if page is None or page.kept_at < tx.now - KEEP_PAGES:
        return None
    is_theirs = (page.member_id, page.session_hash) == (member.id, session_hash)
    return page if is_theirs and page.role == member.role else None


def note_showing(tx: Tx, page: KeptPage, name: str, request_id: str) -> None:
    """Write down that a kept page was shown again, if it shows contact values; forget one for one time."""
    if page.look:
        act, about, seen = page.look
        record = AuditRecord(page.business_id, page.member_id, name, act, about, request_id, seen)
        append_audit_record(tx, record)
    if page.is_once:
        store.delete_kept_page(tx, page.business_id, page.id)


def forget_kept_page(tx: Tx, business_id: str, token: str) -> None:
    """Forget a page whose form was sent again and taken."""
    store.delete_kept_page(tx, business_id, hash_secret(token))


def forget_kept_pages(tx: Tx, business_id: str) -> None:
    """Forget all pages of a business, since somebody who may stand in them is erased."""
    store.delete_pages_of_business(tx, business_id)


def purge_kept_pages(tx: Tx) -> int:
    """Delete pages that are too old to be shown; say how many."""
    return store.delete_old_pages(tx, tx.now - KEEP_PAGES)
