"""Turning capture on and off for an account, and reading one message while it is on."""

from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from contatto.capture import rules, store
from contatto.capture.model import ContactMatch, Field, NameMatch
from contatto.capture.store import CaptureSwitch
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused


@dataclass(frozen=True, slots=True)
class CompanyData:
    """What a business says about itself before contact details are captured for it (P1)."""

    company_name: str
    company_site: str
    privacy_policy_url: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one message gave: contact details, and a stated name, which is no contact by itself (R36)."""

    contacts: tuple[ContactMatch, ...]
    name: NameMatch | None


def save_company_data(
    tx: Tx, business_id: str, channel_account_id: str, company: CompanyData
) -> CaptureSwitch:
    """Keep what a business says about itself; the switch stays as it is. The account is the business's own.

    Raises:
        Refused: INVALID, when company name or privacy policy is missing or malformed.
    """
    if not company.company_name.strip():
        raise Refused(errors.INVALID, "company_name: say which company captures the leads.")
    _check_url("privacy_policy_url", company.privacy_policy_url)
    if company.company_site.strip():
        _check_url("company_site", company.company_site)
    known = store.find_switch(tx, business_id, channel_account_id)
    switch = CaptureSwitch(
        channel_account_id,
        business_id,
        is_on=known is not None and known.is_on,
        company_name=company.company_name.strip(),
        company_site=company.company_site.strip(),
        privacy_policy_url=company.privacy_policy_url.strip(),
        turned_on_at=known.turned_on_at if known else None,
        changed_at=tx.now,
    )
    store.save_switch(tx, switch)
    return switch


def turn_on_capture(
    tx: Tx, business_id: str, channel_account_id: str, company: CompanyData | None
) -> CaptureSwitch:
    """Turn capture on; from now on, messages of this account are matched as they come in.

    Company data given before is kept when none is given now. The account is the business's own.

    Raises:
        Refused: INVALID, when company name or privacy policy is missing or malformed.
    """
    known = store.find_switch(tx, business_id, channel_account_id)
    if company is not None or known is None:
        known = save_company_data(tx, business_id, channel_account_id, company or CompanyData("", "", ""))
    if known.is_on:
        return known
    switch = replace(known, is_on=True, turned_on_at=tx.now, changed_at=tx.now)
    store.save_switch(tx, switch)
    return switch


def turn_off_capture(tx: Tx, business_id: str, channel_account_id: str) -> None:
    """Turn capture off: from now on nothing is detected. Leads that are there stay."""
    known = store.find_switch(tx, business_id, channel_account_id)
    if known is not None and known.is_on:
        store.save_switch(tx, replace(known, is_on=False, turned_on_at=None, changed_at=tx.now))


def capture_contacts(
    switch: CaptureSwitch | None, text: str, country: str, received_at: datetime
) -> Found | None:
    """Match one message, by its formats alone (R21, R22); None when capture is off or came on later."""
    if switch is None or not switch.is_on or switch.turned_on_at is None or received_at < switch.turned_on_at:
        return None
    return Found(tuple(rules.detect_contacts(text, country)), rules.detect_name(text))


def drop_corrected(tx: Tx, business_id: str, found: Found) -> Found:
    """Leave out what a person has called "not a contact" before."""
    if not found.contacts:
        return found
    wrong = store.list_corrected(tx, business_id, {(each.field, each.value) for each in found.contacts})
    kept = tuple(each for each in found.contacts if (each.field, each.value) not in wrong)
    return replace(found, contacts=kept)


def correct_match(tx: Tx, business_id: str, field: Field, value: str, actor: str) -> None:
    """Keep a correction: the next match of the same value is left out, in any message of the business."""
    store.record_correction(tx, business_id, field, value, actor)


def _check_url(field: str, text: str) -> None:
    try:
        parts = urlsplit(text.strip())
    except ValueError:  # such as an address of IPv6 without its end
        parts = urlsplit("")
    if parts.scheme not in ("https", "http") or "." not in parts.netloc or len(text) > 2_000:
        raise Refused(errors.INVALID, f"{field}: give a full address that starts with https://.")
