"""Opening a marketplace, and its placements."""

from dataclasses import replace

from contatto.accounts.actions import create_business
from contatto.accounts.rules import check_timezone
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id
from contatto.operators import rules
from contatto.operators.model import Operator, Placement
from contatto.operators.store import places


def open_operator(tx: Tx, name: str, timezone: str, *, is_listed: bool = True) -> Operator:
    """Make a tenant that runs a marketplace; its members are invited as those of a business are.

    Raises:
        Refused: INVALID for a name or a zone that cannot be.
    """
    if not 0 < len(name.strip()) <= 100:
        raise Refused(errors.INVALID, "name: Enter a name of up to 100 characters.")
    check_timezone(timezone)
    tenant = create_business(tx, name, is_operator=True)
    operator = Operator(tenant.id, tenant.name, timezone, is_listed, tx.now)
    places.save_operator(tx, operator)
    return operator


def load_operator(tx: Tx, operator_id: str) -> Operator:
    """The operator that a tenant is; NOT_FOUND for a business."""
    found = places.find_operator(tx, operator_id)
    if found is None:
        raise Refused(errors.NOT_FOUND)
    return found


def list_operator(tx: Tx, operator: Operator, *, is_listed: bool) -> None:
    """Let every business of the installation ask to be admitted, or only those with a code in."""
    places.record_operator(tx, operator.business_id, is_listed=is_listed)


def load_placement(tx: Tx, operator: Operator, placement_id: str) -> Placement:
    """A placement of an operator; NOT_FOUND for one of another."""
    found = places.find_placement(tx, operator.business_id, placement_id)
    if found is None:
        raise Refused(errors.NOT_FOUND)
    return found


def add_placement(tx: Tx, operator: Operator, wanted: Placement) -> Placement:
    """Add a placement; what ``wanted`` says of its id, its owner and its time is not looked at.

    Raises:
        Refused: INVALID for what cannot be, and where there are too many.
    """
    tx.hold_key("placements", operator.business_id)
    others = places.list_placements(tx, operator.business_id)
    if len(others) >= rules.MOST_PLACEMENTS:
        raise Refused(
            errors.INVALID, "name: You have reached the limit of placements. Change an existing one instead."
        )
    made = replace(wanted, id=new_id(), business_id=operator.business_id, created_at=tx.now)
    rules.check_placement(made, [each.name for each in others])
    places.save_placement(tx, made)
    return made


def change_placement(tx: Tx, operator: Operator, changed: Placement) -> None:
    """Change a placement; its currency stays, as prices and balances are in it.

    Raises:
        Refused: NOT_FOUND; INVALID for what cannot be.
    """
    tx.hold_key("placements", operator.business_id)
    known = load_placement(tx, operator, changed.id)
    kept = replace(
        changed, business_id=known.business_id, currency=known.currency, created_at=known.created_at
    )
    others = places.list_placements(tx, operator.business_id)
    rules.check_placement(kept, [each.name for each in others if each.id != known.id])
    places.save_placement(tx, kept)
