"""The mark of a field that a row holds sealed, and the words in place of a text that does not open."""

from dataclasses import dataclass
from typing import Final

from contatto.kit.i18n import N_

UNREADABLE: Final = N_("This value cannot be read")


def is_unreadable(text: object) -> bool:
    """Report whether a text stands in place of a sealed one that does not open.

    The object itself counts: somebody may have written the same words.
    """
    return text is UNREADABLE


@dataclass(frozen=True, slots=True)
class SealedIn:
    """The place of a sealed text: ``name: Annotated[str, SealedIn("leads.name")]``.

    A transaction opens the text as it reads the row. A missing value reads as an empty text.

    Attributes:
        column: the table and the column, as the vault names them.
        row: the columns that identify the row, as in `contatto.kit.db.types.row_columns`.
    """

    column: str
    row: tuple[str, ...] = ("id",)
