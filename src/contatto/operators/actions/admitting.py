"""Who takes part: a business asks or brings a code, the operator admits, refuses and suspends."""

from dataclasses import replace
from datetime import timedelta

from contatto.accounts.model import Business
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret, new_secret
from contatto.kit.shared_limits import SharedLimit
from contatto.operators import rules
from contatto.operators.model import Admission, AdmissionState, Category, Operator
from contatto.operators.store import places

_CODES = SharedLimit("admission codes tried", 20, timedelta(hours=1))


def ask_admission(tx: Tx, operator_id: str, business: Business, category: Category) -> Admission:
    """Ask an operator to be admitted. The transaction must act for nobody: it looks for the operator.

    Raises:
        Refused: NOT_FOUND for an operator that is not open to all; CONFLICT for who asked or is in already.
    """
    operator = places.find_operator(tx, operator_id)
    if operator is None or not operator.is_listed:
        raise Refused(errors.NOT_FOUND, "Marketplace not found.")
    return _enter(tx, operator, business, category, AdmissionState.ASKED)


def make_code(tx: Tx, operator: Operator) -> str:
    """A code that lets one business in at once; it is shown now and kept as its hash."""
    code = new_secret("join")
    places.save_code(tx, hash_secret(code), operator.business_id, tx.now + timedelta(days=rules.CODE_DAYS))
    return code


def join_by_code(tx: Tx, code: str, business: Business, category: Category) -> Admission:
    """Be admitted by a code, which is used up. The transaction must act for nobody.

    Raises:
        Refused: LINK_OVER for a code that is not good (any more); CONFLICT for who is in already; TOO_MANY.
    """
    _CODES.take(tx, business.id)
    operator_id = places.delete_code(tx, hash_secret(code.strip()))
    operator = places.find_operator(tx, operator_id) if operator_id else None
    if operator is None:
        raise Refused(errors.LINK_OVER)
    return _enter(tx, operator, business, category, AdmissionState.ADMITTED)


def _enter(
    tx: Tx, operator: Operator, business: Business, category: Category, state: AdmissionState
) -> Admission:
    if business.id == operator.business_id:
        raise Refused(errors.CONFLICT, "A marketplace cannot join itself.")
    tx.hold_key("admissions", operator.business_id)
    known = places.find_admission(tx, operator.business_id, business.id)
    by_code = state is AdmissionState.ADMITTED and known is not None and known.state is AdmissionState.ASKED
    if not by_code and not rules.may_ask(known):
        raise Refused(
            errors.CONFLICT, "Your business has already asked to join this marketplace. Wait for its answer."
        )
    if state is AdmissionState.ADMITTED:
        _check_room(tx, operator.business_id)
    decided_at = tx.now if state is AdmissionState.ADMITTED else None
    made = Admission(
        operator.business_id, business.id, operator.name, business.name, state, category, "", tx.now,
        decided_at,
    )  # fmt: skip
    places.save_admission(tx, made)
    return made


def _check_room(tx: Tx, operator_id: str) -> None:
    if places.count_admitted(tx, operator_id) >= rules.MOST_ADMITTED:
        raise Refused(
            errors.CONFLICT, "The marketplace has reached its limit of businesses. Suspend one first."
        )


def decide_admission(
    tx: Tx, operator: Operator, business_id: str, wanted: AdmissionState, reason: str = ""
) -> Admission:
    """Admit, refuse or suspend a business; it reads the reason.

    Raises:
        Refused: NOT_FOUND for a business that never asked; CONFLICT for a step that there is not, and where
            too many are admitted; INVALID without a reason where one is needed.
    """
    tx.hold_key("admissions", operator.business_id)
    known = places.find_admission(tx, operator.business_id, business_id)
    if known is None:
        raise Refused(errors.NOT_FOUND)
    rules.check_decision(known, wanted, reason)
    if wanted is AdmissionState.ADMITTED:
        _check_room(tx, operator.business_id)
    decided = replace(known, state=wanted, reason=reason.strip(), decided_at=tx.now)
    places.save_admission(tx, decided)
    return decided


def set_category(tx: Tx, operator: Operator, business_id: str, category: Category) -> None:
    """Correct what a business says that it advertises; NOT_FOUND for one that never asked."""
    known = places.find_admission(tx, operator.business_id, business_id)
    if known is None:
        raise Refused(errors.NOT_FOUND)
    places.save_admission(tx, replace(known, category=category))


def leave_operator(tx: Tx, business_id: str, operator_id: str) -> None:
    """Take part no more: none of the business's ads competes there from then on.

    Raises:
        Refused: NOT_FOUND; CONFLICT for who was refused or left already.
    """
    tx.hold_key("admissions", operator_id)
    known = places.find_admission(tx, operator_id, business_id)
    if known is None:
        raise Refused(errors.NOT_FOUND)
    if known.state in (AdmissionState.REFUSED, AdmissionState.LEFT, AdmissionState.SUSPENDED):
        raise Refused(errors.CONFLICT, "Your business is not a member of this marketplace.")
    places.save_admission(tx, replace(known, state=AdmissionState.LEFT, reason="", decided_at=tx.now))


def purge_admission_codes(tx: Tx) -> int:
    """Delete codes whose time is over; say how many."""
    return places.delete_old_codes(tx)
