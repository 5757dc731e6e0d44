"""Save the pages that answer forms, and show them again to the same session."""

from datetime import timedelta
from typing import Final

from contatto.accounts.model import Business, Member
from contatto.audit.actions import append_audit_record
from contatto.audit.model import AuditRecord
from contatto.kit.db.tx import Tx
from contatto.kit.ids import hash_secret
from contatto.typed import store
from contatto.typed.store import KeptPage

KEEP_PAGES: Final = timedelta(hours=12)
MOST_PAGES: Final = 30
"""Saved pages of one member."""


def keep_page(tx: Tx, page: KeptPage) -> None:
    """Save a page, and delete the member's oldest ones beyond the limit."""
    store.save_kept_page(tx, page)
    store.delete_older_pages(tx, page.business_id, page.member_id, MOST_PAGES)


def find_kept_page(tx: Tx, owner: tuple[Member, Business], session_hash: str, token: str) -> KeptPage | None:
    """Return the saved page of this session, while its member still has the same role."""
    member, business = owner
    page = store.find_kept_page(tx, business.id, hash_secret(token))
    if page is None or page.kept_at < tx.now - KEEP_PAGES:
        return None
    is_owner = (page.member_id, page.session_hash) == (member.id, session_hash)
    return page if is_owner and page.role == member.role else None


def note_showing(tx: Tx, page: KeptPage, name: str, request_id: str) -> None:
    """Log that a page with contact data was shown again; delete a page that may be shown once."""
    if page.look:
        act, about, seen = page.look
        record = AuditRecord(page.business_id, page.member_id, name, act, about, request_id, seen)
        append_audit_record(tx, record)
    if page.is_once:
        store.delete_kept_page(tx, page.business_id, page.id)


def forget_kept_page(tx: Tx, business_id: str, token: str) -> None:
    """Delete the refusal of a form that has been accepted now."""
    store.delete_kept_page(tx, business_id, hash_secret(token))


def forget_kept_pages(tx: Tx, business_id: str) -> None:
    """Delete all pages of a business: they may contain a person who is erased."""
    store.delete_pages_of_business(tx, business_id)


def purge_kept_pages(tx: Tx) -> int:
    """Delete expired pages; return their number."""
    return store.delete_old_pages(tx, tx.now - KEEP_PAGES)
