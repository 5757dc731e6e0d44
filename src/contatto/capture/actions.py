"""Capture switches of accounts, their review, and corrections of detected contacts."""

from collections.abc import Collection
from dataclasses import asdict, astuple, dataclass, replace
from urllib.parse import urlsplit

from contatto.capture import store
from contatto.capture.model import CaptureSwitch, Field, Review
from contatto.capture.store import capture_corrections, capture_switches
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import new_id


@dataclass(frozen=True, slots=True)
class CompanyData:
    """Company data that capture requires (requirement P1)."""

    company_name: str
    company_site: str
    privacy_policy_url: str


def save_company_data(
    tx: Tx, business_id: str, channel_account_id: str, company: CompanyData, *, needs_review: bool = False
) -> CaptureSwitch:
    """Save a company's data as its application for capture; the caller has checked the account.

    The switch stays as it is. With ``needs_review``, new or changed data wait for the operator; a capture
    that is on stays on meanwhile.

    Raises Refused: INVALID, when company name or privacy policy is missing, or an address is malformed.
    """
    if not company.company_name.strip():
        raise Refused(errors.INVALID, "company_name: enter the name of the company that captures the leads.")
    addresses = {"privacy_policy_url": company.privacy_policy_url, "company_site": company.company_site}
    for field, text in addresses.items():
        try:
            parts = urlsplit(text.strip())
        except ValueError:  # such as an address of IPv6 without its end
            parts = urlsplit("")
        is_full = parts.scheme in ("https", "http") and "." in parts.netloc and len(text) <= 2_000
        if not is_full and (text.strip() or field == "privacy_policy_url"):
            raise Refused(
                errors.INVALID, "%(field)s: give a full address that starts with https://.", field=field
            )
    company_data = CompanyData(*(text.strip() for text in astuple(company)))
    existing_switch = store.find_switch(tx, business_id, channel_account_id)
    before = existing_switch or CaptureSwitch(channel_account_id, business_id, tx.now)
    is_same = replace(before, **asdict(company_data)) == before
    review = before.review if is_same and before.review is not Review.REFUSED else Review.PENDING
    switch = replace(
        before,
        **asdict(company_data),
        changed_at=tx.now,
        review=review if needs_review else Review.APPROVED,
        refused_reason="",
        applied_at=(before.applied_at if is_same else None) or tx.now,
    )
    tx.save(capture_switches, row_of(switch))
    return switch


def turn_on_capture(
    tx: Tx,
    business_id: str,
    channel_account_id: str,
    company: CompanyData | None,
    *,
    needs_review: bool = False,
) -> CaptureSwitch:
    """Turn capture on: from now on, new messages of this account are searched for contact details.

    Without ``company`` the saved data stay. The caller has checked the account. The returned switch is off
    while the application is not approved.

    Raises Refused: INVALID, when company name or privacy policy is missing, or an address is malformed.
    """
    existing_switch = store.find_switch(tx, business_id, channel_account_id)
    if company is not None or existing_switch is None:
        company_data = company or CompanyData("", "", "")
        existing_switch = save_company_data(
            tx, business_id, channel_account_id, company_data, needs_review=needs_review
        )
    if existing_switch.is_on or existing_switch.review is not Review.APPROVED:
        return existing_switch
    switch = replace(existing_switch, is_on=True, turned_on_at=tx.now, changed_at=tx.now)
    tx.save(capture_switches, row_of(switch))
    return switch


def review_capture(tx: Tx, channel_account_id: str, review: Review, reason: str = "") -> CaptureSwitch:
    """Approve an application, so that the business may turn capture on, or refuse it. For the operator.

    A refusal turns capture off, and the business sees the reason.

    Raises Refused: NOT_FOUND, when the account has no application; INVALID for a refusal without a reason.
    """
    if review is Review.REFUSED and not 0 < len(reason.strip()) <= 500:
        raise Refused(errors.INVALID, "reason: enter what has to change, in 1 to 500 characters.")
    application = check_found(
        store.find_application(tx, channel_account_id), "This account has no application for lead capture."
    )
    is_on = application.is_on and review is Review.APPROVED
    turned_on_at = application.turned_on_at if is_on else None
    changed = replace(
        application,
        review=review,
        refused_reason=reason.strip(),
        is_on=is_on,
        turned_on_at=turned_on_at,
        changed_at=tx.now,
    )
    tx.save(capture_switches, row_of(changed))
    return changed


def turn_off_capture(tx: Tx, business_id: str, channel_account_id: str) -> None:
    """Turn capture off: from now on nothing is detected. Leads that are there stay."""
    switch = store.find_switch(tx, business_id, channel_account_id)
    if switch is not None and switch.is_on:
        turned_off = replace(switch, is_on=False, turned_on_at=None, changed_at=tx.now)
        tx.save(capture_switches, row_of(turned_off))


def correct_match(tx: Tx, business_id: str, field: Field, value: str, actor: str) -> None:
    """Exclude a value that a member marked "not a contact" from later detection in the business."""
    row = {
        "id": new_id(),
        "business_id": business_id,
        "field": field,
        "value_index": tx.vault.blind(value, business_id),
        "actor": actor,
        "created_at": tx.now,
    }
    tx.insert_ignore(capture_corrections, row)


def forget_corrections(tx: Tx, business_id: str, values: Collection[str]) -> None:
    """Delete the corrections of contact values that a member restored or erased."""
    indexes = [tx.vault.blind(value, business_id) for value in values]
    tx.delete(capture_corrections, business_id, value_index=indexes)
