"""Reading a file of leads: columns by their names, each row through the same normaliser as the chat."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import phonenumbers

from contatto.capture.model import ContactMatch, Field
from contatto.capture.rules import detect_contacts
from contatto.kit import errors
from contatto.kit.emails import InvalidEmail, checked_email
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText, brand_of
from contatto.leads.model.leads import LeadStatus
from contatto.leads.rules.annotations import LABEL_LIMIT, NOTE_LIMIT
from contatto.leads.rules.columns import KNOWN, NOT_TAKEN, Column, bare_contact, read_status

MOST_ROWS: Final = 20_000
MOST_COLUMNS: Final = 200
MOST_CELL: Final = 500
MOST_HEAD: Final = 100
RULE: Final = "import"
_LEAST_ABROAD: Final = 10
"""Digits of a number with its country and without a plus; of fewer, too many would be valid by chance."""
_DIGITS: Final = re.compile(r"[\d\s().\-/]{10,40}")
_DELIMITERS: Final = ",;\t"


class UnreadableRow(Exception):
    """A row that cannot be taken; it says why and quotes nothing of it."""

    def __init__(self, text: str, /, **values: Any) -> None:
        self.says = LazyText(text, **values)
        super().__init__(str(self.says))

    @classmethod
    def saying(cls, says: LazyText) -> "UnreadableRow":
        return cls(says.text, **says.values)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The head of a file and its rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row, read: what it says of a person, and what of it cannot be taken."""

    name: str
    contacts: tuple[ContactMatch, ...]
    labels: tuple[str, ...] = ()
    status: LeadStatus | None = None
    notes: str = ""
    owner: str = ""
    problems: tuple[LazyText, ...] = ()


_SPACES: Final = re.compile(r"[ \t\r\n]+")
"""Spaces of ASCII alone: other ones may be half a letter of another encoding."""


def read_sheet(text: str) -> Sheet:
    """Read a text as CSV with a head; commas, semicolons or tabs between the cells.

    Raises:
        Refused: INVALID, when it is no CSV, or as ``sheet_of``.
    """
    plain = text.removeprefix("\ufeff").replace("\0", "")
    first = plain.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        return sheet_of(csv.reader(io.StringIO(plain), delimiter=delimiter))
    except csv.Error as error:
        raise Refused(errors.INVALID, "file: This is not a CSV file. Export it again as CSV.") from error


def sheet_of(table: Iterable[Sequence[str]]) -> Sheet:
    """The head and the rows of a table; lines without any cell are left out, and empty columns at the end.

    Raises:
        Refused: INVALID, when there is no row below the head, or too many rows or columns.
    """
    found = list(islice((tuple(row) for row in table if any(cell.strip() for cell in row)), MOST_ROWS + 2))
    head = found[0] if found else ()
    width = max((place for place, cell in enumerate(head, 1) if cell.strip()), default=0)
    head = head[:width]
    if width > MOST_COLUMNS:
        raise Refused(errors.INVALID, "file: The file may have at most %(most)s columns.", most=MOST_COLUMNS)
    if not 1 < len(found) <= MOST_ROWS + 1:
        raise Refused(
            errors.INVALID, "file: The file needs 1 to %(most)s rows below the column names.", most=MOST_ROWS
        )
    return Sheet(tuple(_SPACES.sub(" ", cell).strip(" ")[:MOST_HEAD] for cell in head), tuple(found[1:]))


def read_columns(columns: Sequence[str], count: int) -> tuple[str, ...]:
    """What each column of a file is to be taken for.

    Raises:
        Refused: INVALID, for what is none of the choices, or when no column holds a contact detail.
    """
    known = tuple(each if each in KNOWN else NOT_TAKEN for each in columns[:count])
    if len(known) != count or not set(known) & {field.value for field in Field}:
        raise Refused(
            errors.INVALID,
            "column: choose at least one column with a phone number, an e-mail or another contact detail.",
        )
    return known


def read_entry(columns: Sequence[str], cells: Sequence[str], country: str) -> Entry:
    """Read one row. What cannot be taken is named in ``problems``; the rest counts.

    Raises:
        UnreadableRow: when no contact detail is left of it, with the reason.
    """
    found: dict[str, list[str]] = {}
    contacts: list[ContactMatch] = []
    problems: list[LazyText] = []
    for column, cell in zip(columns, cells, strict=False):
        text = cell.strip().removeprefix("'")  # our own downloads guard cells with an apostrophe
        most = NOTE_LIMIT if column == Column.NOTES else MOST_CELL
        if not text or not column:
            continue
        if len(text) > most:
            problems.append(LazyText("A cell is longer than %(most)s characters.", most=most))
        elif column in list(Field):
            good, bad = _contacts(Field(column), text, country)
            contacts += good
            problems += bad
        else:
            found.setdefault(column, []).append(text)
    if not contacts:
        raise UnreadableRow.saying(problems[0] if problems else LazyText("This row has no contact detail."))
    once = {(each.field, each.value): each for each in contacts}.values()
    statuses = [read_status(text) for text in found.get(Column.STATUS, ())]
    if None in statuses:
        problems.append(LazyText("Unknown status."))
    labels = (part.strip()[:LABEL_LIMIT] for text in found.get(Column.LABELS, ()) for part in text.split(","))
    return Entry(
        name=" ".join(found.get(Column.NAME, ())),
        contacts=tuple(once),
        labels=tuple(dict.fromkeys(label for label in labels if label)),
        status=next((status for status in statuses if status), None),
        notes="\n".join(found.get(Column.NOTES, ()))[:NOTE_LIMIT],
        owner=next(iter(found.get(Column.OWNER, ())), ""),
        problems=tuple(problems),
    )


def _contacts(field: Field, text: str, country: str) -> tuple[list[ContactMatch], list[LazyText]]:
    """The details of a cell: one, or several with commas between them; and why others are none."""
    found: list[ContactMatch] = []
    bad: list[LazyText] = []
    for part in [part.strip() for part in re.split(r"[,;|\n]|:::", bare_contact(text)) if part.strip()][:20]:
        try:
            found.append(contact_of(field, part, country))
        except UnreadableRow as unfit:
            bad.append(unfit.says)
    return found, bad


def contact_of(field: Field, text: str, country: str) -> ContactMatch:
    value = _READERS.get(field, _handle)(field, text, country)
    return ContactMatch(field, value, 0, len(text), text, 1.0, RULE)


def _phone(field: Field, text: str, country: str) -> str:
    try:
        number = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException as error:
        abroad = _abroad(text)
        if abroad is None:
            raise UnreadableRow(
                "This is not a phone number. Include the country code, such as +65."
            ) from error
        number = abroad
    if not phonenumbers.is_valid_number(number):
        abroad = _abroad(text)
        if abroad is None:
            raise UnreadableRow("This phone number is not valid in its country.")
        number = abroad
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _abroad(text: str) -> phonenumbers.PhoneNumber | None:
    """A number with its country but without a plus: spreadsheets take it away, and people dial 00."""
    digits = "".join(each for each in text if each.isdecimal()).removeprefix("00")
    if not _DIGITS.fullmatch(text) or len(digits) < _LEAST_ABROAD:
        return None
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def _email(field: Field, text: str, country: str) -> str:
    found = detect_contacts(text, country or "SG")
    if len(found) == 1 and found[0].field is field and found[0].raw == text:
        return found[0].value
    try:
        return checked_email(text)
    except InvalidEmail as error:
        raise UnreadableRow("This is not an e-mail address.") from error


def _handle(field: Field, text: str, country: str) -> str:
    plain = text.removeprefix("@")
    written = text if "/" in text else f"{field.value}: @{plain}"
    found = [match for match in detect_contacts(written, country or "SG") if match.field is field]
    if len(found) == 1:
        return found[0].value
    if not re.fullmatch(r"[\w.\-]{2,100}", plain):
        raise UnreadableRow("This is not a %(platform)s name.", platform=brand_of(field.value))
    return plain.lower()


_READERS: Final = {Field.PHONE: _phone, Field.WHATSAPP: _phone, Field.EMAIL: _email}
