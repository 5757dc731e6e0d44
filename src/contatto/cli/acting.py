"""What the operator's commands share: the business that is meant, one write, its entry in the audit log."""

from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.console import Console

from contatto.accounts import store
from contatto.accounts.model import Business
from contatto.audit.actions import append_audit_record
from contatto.audit.model import AuditRecord
from contatto.cli.installation import open_installation
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

out: Final = Console(highlight=False)
_err: Final = Console(stderr=True, highlight=False)
OPERATOR: Final = "operator"
"""Who acted, in the audit log: nobody who signs in."""
Of = Annotated[
    str, typer.Option("--business", help="Name or id of the business; needed when there are several.")
]


def find_one_business(tx: Tx, wanted: str) -> Business:
    """The business that is meant: by its name or id, or the only one.

    Raises:
        Refused: NOT_FOUND.
    """
    found = [each for each in store.list_businesses(tx) if wanted in ("", each.id, each.name)]
    if len(found) != 1:
        names = ", ".join(each.name for each in store.list_businesses(tx)) or "none yet; run contatto init"
        raise Refused(errors.NOT_FOUND, f"--business: name one of these: {names}.")
    return found[0]


def carry_out[T](work: Callable[[Tx], T]) -> T:
    """Do a command's work in one transaction; a refusal is said, and ends the command with 1."""
    context = open_installation()
    try:
        return context.db.write_now(work)
    except Refused as refused:
        _err.print(f"{refused.detail} Nothing was changed.")
        raise typer.Exit(1) from refused
    finally:
        context.db.close()


def record_command(tx: Tx, business: Business, command: str, objects: str = "") -> None:
    """Write into the audit log what a command did."""
    append_audit_record(tx, AuditRecord(business.id, OPERATOR, OPERATOR, f"contatto {command}", objects, ""))
