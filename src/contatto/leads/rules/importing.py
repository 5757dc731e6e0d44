"""Reading a file of leads: columns by their names, each row through the same normaliser as the chat."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import phonenumbers

from contatto.capture.model import ContactMatch, Field
from contatto.capture.rules import detect_contacts
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText
from contatto.leads.rules.annotations import LABEL_LIMIT

MOST_ROWS: Final = 20_000
MOST_COLUMNS: Final = 200
MOST_CELL: Final = 500
RULE: Final = "import"
_ALIASES: Final = {
    "name": ("name", "full name", "full_name", "contact", "customer"),
    "labels": ("labels", "label", "tags", "tag"),
    Field.PHONE: ("phone", "phone number", "phone_number", "telephone", "mobile", "tel"),
    Field.EMAIL: ("email", "e-mail", "mail", "email address"),
    Field.TWITTER: ("twitter", "x"),
}
_EMAIL: Final = re.compile(r"[^\s@<>()\[\],;:\\\"]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,63}")
_DELIMITERS: Final = ",;\t"


class UnreadableRow(Exception):
    """A row that cannot be taken; it says why and quotes nothing of it."""

    def __init__(self, text: str, /, **values: Any) -> None:
        self.says = LazyText(text, **values)
        super().__init__(str(self.says))


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows of a file; ``columns`` names what each cell holds, "" for a column that is not known."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row, read: a name, contact details in their normal form, and labels."""

    name: str
    contacts: tuple[ContactMatch, ...]
    labels: tuple[str, ...]


def read_sheet(text: str) -> Sheet:
    """Read a file as CSV with a head; commas, semicolons or tabs between the cells.

    Raises:
        Refused: INVALID, when there is no head with a contact column, no row, or too many rows or columns.
    """
    plain = text.removeprefix("\ufeff").replace("\0", "")
    first = plain.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        table = [tuple(row) for row in csv.reader(io.StringIO(plain), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise Refused(errors.INVALID, "file: this is no CSV file.") from error
    if table and len(table[0]) > MOST_COLUMNS:
        raise Refused(errors.INVALID, "file: it must have %(most)s columns at most.", most=MOST_COLUMNS)
    columns = tuple(_column(cell) for cell in table[0]) if table else ()
    if not set(columns) & {field.value for field in Field}:
        raise Refused(
            errors.INVALID, "file: the first line must name a column phone, email or another contact."
        )
    if not 1 < len(table) <= MOST_ROWS + 1:
        raise Refused(errors.INVALID, "file: it must hold 1 to %(most)s rows below its head.", most=MOST_ROWS)
    return Sheet(columns, tuple(table[1:]))


def _column(cell: str) -> str:
    word = " ".join(cell.strip().casefold().split())
    for column, names in _ALIASES.items():
        if word in names:
            return str(column)
    return word if word in list(Field) else ""


def read_entry(columns: Sequence[str], cells: Sequence[str], country: str) -> Entry:
    """Read one row.

    Raises:
        Unfit: with the reason.
    """
    name = ""
    labels: tuple[str, ...] = ()
    contacts: list[ContactMatch] = []
    for column, cell in zip(columns, cells, strict=False):
        text = cell.strip().removeprefix("'")  # our own downloads guard cells with an apostrophe
        if len(text) > MOST_CELL:
            raise UnreadableRow("A cell is longer than %(most)s characters.", most=MOST_CELL)
        if not text or not column:
            continue
        if column == "name":
            name = text
        elif column == "labels":
            labels = tuple(part.strip()[:LABEL_LIMIT] for part in text.split(",") if part.strip())
        else:
            contacts += _contacts(Field(column), text, country)
    if not contacts:
        raise UnreadableRow("There is no contact detail in it.")
    return Entry(name, tuple({(each.field, each.value): each for each in contacts}.values()), labels)


def _contacts(field: Field, text: str, country: str) -> list[ContactMatch]:
    """The details of a cell: one, or several with commas between them."""
    parts = [part.strip() for part in re.split(r"[,;|]", text) if part.strip()]
    return [_contact(field, part, country) for part in parts[:20]]


def _contact(field: Field, text: str, country: str) -> ContactMatch:
    value = _READERS.get(field, _handle)(field, text, country)
    return ContactMatch(field, value, 0, len(text), text, 1.0, RULE)


def _phone(field: Field, text: str, country: str) -> str:
    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException as error:
        raise UnreadableRow("This is no phone number. Write it with its country, such as +65.") from error
    if not phonenumbers.is_valid_number(number):
        raise UnreadableRow("This phone number is not valid in its country.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _email(field: Field, text: str, country: str) -> str:
    found = detect_contacts(text, country or "SG")
    if len(found) == 1 and found[0].field is field and found[0].raw == text:
        return found[0].value
    if not _EMAIL.fullmatch(text):
        raise UnreadableRow("This is no e-mail address.")
    local, _, domain = text.rpartition("@")
    return f"{local}@{domain.lower()}"


def _handle(field: Field, text: str, country: str) -> str:
    plain = text.removeprefix("@")
    written = text if "/" in text else f"{field.value}: @{plain}"
    found = [match for match in detect_contacts(written, country or "SG") if match.field is field]
    if len(found) == 1:
        return found[0].value
    if not re.fullmatch(r"[\w.\-]{2,100}", plain):
        raise UnreadableRow("This is no name on %(platform)s.", platform=field.value.capitalize())
    return plain.lower()


_READERS: Final = {Field.PHONE: _phone, Field.WHATSAPP: _phone, Field.EMAIL: _email}
