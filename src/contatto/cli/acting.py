"""Shared parts of the operator's commands: the business, one write, the audit record, tables."""

from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from contatto.accounts import store
from contatto.accounts.model import Business
from contatto.audit.actions import append_audit_record
from contatto.audit.model import AuditRecord
from contatto.cli.installation import open_small
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

out: Final = Console(highlight=False)
_err: Final = Console(stderr=True, highlight=False)
OPERATOR: Final = "operator"
"""Who acted, in the audit log: nobody who signs in."""
_MOST_COLUMNS: Final = 10_000
Of = Annotated[
    str, typer.Option("--business", help="Name or id of the business; needed when there are several.")
]


def find_one_business(tx: Tx, wanted: str) -> Business:
    """The business that is meant: by its name or id, or the only one.

    Raises:
        Refused: NOT_FOUND.
    """
    found = [business for business in store.list_businesses(tx) if wanted in ("", business.id, business.name)]
    if len(found) != 1:
        names = ", ".join(each.name for each in store.list_businesses(tx)) or "none yet; run contatto init"
        raise Refused(errors.NOT_FOUND, f"--business: use one of {names}.")
    return found[0]


def carry_out[T](work: Callable[[Tx], T]) -> T:
    """Do a command's work in one transaction; a refusal is said, and ends the command with 1."""
    db = open_small().db
    try:
        return db.write_now(work)
    except Refused as refused:
        _err.print(f"{refused.detail} Nothing was changed.")
        raise typer.Exit(1) from refused
    finally:
        db.close()


def print_table(table: Table) -> None:
    """Print a table with every id, address and link whole, past the edge of the screen where it must be."""
    wide = out.options.update(width=_MOST_COLUMNS)
    columns = [
        [Measurement.get(out, wide, cell) for cell in (column.header, *column.cells)]
        for column in table.columns
    ]
    longest_words = [max(cell.minimum for cell in cells) for cells in columns]
    frame = Measurement.get(out, wide, table).maximum - sum(
        max(cell.maximum for cell in cells) for cells in columns
    )
    room = max(0, out.width - frame - sum(longest_words))
    for column, cells, word in zip(table.columns, columns, longest_words, strict=True):
        more = min(room, max(cell.maximum for cell in cells) - word)
        column.width, room = word + more, room - more
    width = max(out.width, frame + sum(column.width or 0 for column in table.columns))
    Console(highlight=False, width=width).print(table)


def record_command(tx: Tx, business: Business, command: str, objects: str = "") -> None:
    """Write into the audit log what a command did."""
    append_audit_record(tx, AuditRecord(business.id, OPERATOR, OPERATOR, f"contatto {command}", objects, ""))
