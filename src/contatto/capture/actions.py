"""Turning capture on and off for an account, and reading one message while it is on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit

from contatto.capture import rules, store
from contatto.capture.model import ContactMatch, Field, NameMatch, Review
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
    tx: Tx, business_id: str, channel_account_id: str, company: CompanyData, *, needs_review: bool = False
) -> CaptureSwitch:
    """Keep what a business says about itself: its application for capture (P1). The account is its own.

    The switch stays as it is. With ``needs_review``, new or changed data wait for the operator; a capture
    that is on stays on meanwhile.

    Raises:
        Refused: INVALID, when company name or privacy policy is missing or malformed.
    """
    if not company.company_name.strip():
        raise Refused(errors.INVALID, "company_name: enter the name of the company that captures the leads.")
    _check_url("privacy_policy_url", company.privacy_policy_url)
    if company.company_site.strip():
        _check_url("company_site", company.company_site)
    known = store.find_switch(tx, business_id, channel_account_id)
    given = CompanyData(
        company.company_name.strip(), company.company_site.strip(), company.privacy_policy_url.strip()
    )
    is_same = known is not None and given == CompanyData(
        known.company_name, known.company_site, known.privacy_policy_url
    )
    review = known.review if known is not None and is_same else None
    if review in (None, Review.REFUSED) or not needs_review:
        review = Review.PENDING if needs_review else Review.APPROVED
    switch = CaptureSwitch(
        channel_account_id,
        business_id,
        is_on=known is not None and known.is_on,
        company_name=given.company_name,
        company_site=given.company_site,
        privacy_policy_url=given.privacy_policy_url,
        turned_on_at=known.turned_on_at if known else None,
        changed_at=tx.now,
        review=review or Review.APPROVED,
        applied_at=known.applied_at if known and is_same and known.applied_at else tx.now,
    )
    store.save_switch(tx, switch)
    return switch


def turn_on_capture(
    tx: Tx,
    business_id: str,
    channel_account_id: str,
    company: CompanyData | None,
    *,
    needs_review: bool = False,
) -> CaptureSwitch:
    """Turn capture on; from now on, messages of this account are matched as they come in.

    Company data given before is kept when none is given now. The account is the business's own. While the
    application is not approved, the switch comes back off.

    Raises:
        Refused: INVALID, when company name or privacy policy is missing or malformed.
    """
    known = store.find_switch(tx, business_id, channel_account_id)
    if company is not None or known is None:
        given = company or CompanyData("", "", "")
        known = save_company_data(tx, business_id, channel_account_id, given, needs_review=needs_review)
    if known.is_on or known.review is not Review.APPROVED:
        return known
    switch = replace(known, is_on=True, turned_on_at=tx.now, changed_at=tx.now)
    store.save_switch(tx, switch)
    return switch


def approve_capture(tx: Tx, channel_account_id: str) -> CaptureSwitch:
    """Approve an application: the business may turn capture on now. For the operator.

    Raises:
        Refused: NOT_FOUND, when the account has no application.
    """
    return _review(tx, channel_account_id, Review.APPROVED, "")


def refuse_capture(tx: Tx, channel_account_id: str, reason: str) -> CaptureSwitch:
    """Refuse an application and turn capture off; the business sees the reason. For the operator.

    Raises:
        Refused: NOT_FOUND; INVALID without a reason.
    """
    if not 0 < len(reason.strip()) <= 500:
        raise Refused(errors.INVALID, "reason: enter what has to change, in 1 to 500 characters.")
    return _review(tx, channel_account_id, Review.REFUSED, reason.strip())


def _review(tx: Tx, channel_account_id: str, review: Review, reason: str) -> CaptureSwitch:
    known = store.find_application(tx, channel_account_id)
    if known is None:
        raise Refused(errors.NOT_FOUND, "This account has no application for lead capture.")
    is_on = known.is_on and review is Review.APPROVED
    turned_on_at = known.turned_on_at if is_on else None
    changed = replace(
        known, review=review, refused_reason=reason, is_on=is_on, turned_on_at=turned_on_at, changed_at=tx.now
    )
    store.save_switch(tx, changed)
    return changed


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


def drop_corrected(tx: Tx, business_id: str, found: Sequence[Found]) -> list[Found]:
    """What messages gave, in their order, without what a person has called "not a contact" before."""
    values = {(each.field, each.value) for one in found for each in one.contacts}
    if not values:
        return list(found)
    wrong = store.list_corrected(tx, business_id, values)
    if not wrong:
        return list(found)
    return [
        replace(one, contacts=tuple(each for each in one.contacts if (each.field, each.value) not in wrong))
        for one in found
    ]


def correct_match(tx: Tx, business_id: str, field: Field, value: str, actor: str) -> None:
    """Keep a correction: the next match of the same value is left out, in any message of the business."""
    store.record_correction(tx, business_id, field, value, actor)


def forget_corrections(tx: Tx, business_id: str, values: Collection[str]) -> None:
    """Delete the corrections of values: their person is to be forgotten."""
    store.delete_corrections(tx, business_id, values)


def list_contacts(text: str, country: str) -> set[str]:
    """Every contact value in a text, normalised and as written, whether capture is on or not."""
    return {each for found in rules.detect_contacts(text, country) for each in (found.value, found.raw)}


def _check_url(field: str, text: str) -> None:
    try:
        parts = urlsplit(text.strip())
    except ValueError:  # such as an address of IPv6 without its end
        parts = urlsplit("")
    if parts.scheme not in ("https", "http") or "." not in parts.netloc or len(text) > 2_000:
        raise Refused(
            errors.INVALID, "%(field)s: give a full address that starts with https://.", field=field
        )
