"""The mark of a field that a row holds sealed."""

from dataclasses import dataclass


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
