"""Reading of imported files: kinds of columns, rows and cells.

The head and the cells of a column suggest its kind, which the member can change.
"""

import csv
import io
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from itertools import islice
from typing import Any, Final
from unicodedata import category, normalize
from urllib.parse import unquote

import phonenumbers

from contatto.capture.model import ContactMatch, Field
from contatto.capture.rules import detect_contacts
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.values import InvalidEmail, brand_of, checked_email
from contatto.leads.model import JobPlan, LeadStatus
from contatto.leads.rules.records import LABEL_LIMIT, NOTE_LIMIT


class ImportColumn(StrEnum):
    """Kind of a column besides contact details; an empty text marks one that is not imported."""

    NAME = "name"
    LABELS = "labels"
    STATUS = "status"
    NOTES = "notes"
    OWNER = "owner"


NOT_TAKEN: Final = ""
COLUMN_KINDS: Final = (*(field.value for field in ImportColumn), *(field.value for field in Field))
"""Kinds that a column may have."""
REASON_HEAD: Final = "contatto: why"
"""Reason column of our file of rejected rows, which is skipped when that file is imported again."""
_SAMPLES: Final = 200
_LEAST_SHARE: Final = 0.6
"""Least share of filled cells that look like an address or a number, for a column to count as such."""
_LONGEST_CELL: Final = 10_000
"""Characters of a cell in which contact details are searched."""
_NAMED_ADDRESS: Final = re.compile(
    r"(?:\"[^\"<>]{0,200}\"\s*|[^<>,;|\n\"]{0,200})<\s*(?P<address>[^<>\n]{1,320}?)\s*>"
)
_LINK: Final = re.compile(
    r"\b(?:mailto|tel|callto|sms):(?://)?(?P<value>[^?,;|\s]{1,320})(?:\?[^,;|\s]{0,500})?", re.IGNORECASE
)
_PHONE_PARAMETER: Final = re.compile(r";(?:ext|isub|phone-context)=[^;,|\s]{0,50}", re.IGNORECASE)
_EMAIL: Final = re.compile(r"\S+@\S+\.\w{2,}")
_NUMBER: Final = re.compile(r"(?:\+|00)\d[\d\s().\-]{6,20}")


def head_key(head: str) -> str:
    """Normalise the spelling of a head: no case, accents, signs, or text in brackets."""
    bare = re.sub(r"[(\[（].*?[)\]）]", " ", head)
    plain = normalize("NFKD", bare.casefold())
    letters = (letter for letter in plain if category(letter) != "Mn" or "\u0e00" <= letter <= "\u0eff")
    # Arabic writers leave the hamza out as often as not
    text = "".join(letters).replace("أ", "ا").replace("إ", "ا").replace("đ", "d").replace("º", " ")
    return " ".join(
        "".join(letter if letter.isalnum() or category(letter) == "Mn" else " " for letter in text).split()
    )


_WORDS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = tomllib.loads(
    (files("contatto.leads") / "import_words.toml").read_text(encoding="utf-8")
)
_BY_HEAD: Final = {
    **{head_key(word): name for name, words in _WORDS["columns"].items() for word in words},
    **{field.value: field.value for field in Field},
    head_key(REASON_HEAD): NOT_TAKEN,
}
_BY_STATUS: Final = {head_key(word): name for name, words in _WORDS["statuses"].items() for word in words}
_INSIDE: Final = {word: _BY_HEAD[head_key(word)] for word in _WORDS["inside"]["words"]}
"""Words that decide the kind of a column even inside a longer head."""


def guess_columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Guess the kind of each column, ``NOT_TAKEN`` without evidence; columns may share a kind."""
    columns = []
    for index, head in enumerate(heads):
        key = head_key(head)
        padded = f" {key} "
        inside = (
            kind
            for word, kind in _INSIDE.items()
            if f" {word} " in padded or (not word.isascii() and word in key)
        )
        column = _BY_HEAD[key] if key in _BY_HEAD else next(inside, NOT_TAKEN)
        if column == NOT_TAKEN:
            cells = (row[index].strip() for row in rows[:_SAMPLES] if index < len(row))
            filled = [bare_contact(cell.removeprefix("'")).strip(", ") for cell in cells if cell]
            for pattern, field in ((_NUMBER, Field.PHONE), (_EMAIL, Field.EMAIL)):
                hits = sum(pattern.fullmatch(cell) is not None for cell in filled)
                column = field.value if filled and hits >= _LEAST_SHARE * len(filled) else column
        columns.append(column)
    return tuple(columns)


def bare_contact(text: str) -> str:
    """Return contact details without `mailto:`, `tel:` and the names around addresses in angle brackets.

    Source: RFC 6068 (mailto), RFC 3966 (tel), RFC 5322 (addresses with names).
    """
    plain = _NAMED_ADDRESS.sub(r",\g<address>,", text[:_LONGEST_CELL])
    return _LINK.sub(lambda link: unquote(link["value"]), _PHONE_PARAMETER.sub("", plain))


MOST_ROWS: Final = 20_000
MOST_COLUMNS: Final = 200
MOST_CELL: Final = 500
MOST_HEAD: Final = 100
RULE: Final = "import"
_LEAST_ABROAD: Final = 10
"""Least digits of a number with a country code and no plus; shorter ones are often valid by chance."""
_DIGITS: Final = re.compile(r"[\d\s().\-/]{10,40}")
_DELIMITERS: Final = ",;\t"


class UnreadableRow(Exception):
    """A row or contact detail that cannot be imported; the message quotes nothing of it."""

    def __init__(self, text: str, /, **values: Any) -> None:
        self.says = LazyText(text, **values)
        super().__init__(str(self.says))


@dataclass(frozen=True, slots=True)
class ImportEntry:
    """Parsed row: its values of a person, and its invalid cells."""

    name: str
    contacts: tuple[ContactMatch, ...]
    labels: tuple[str, ...] = ()
    status: LeadStatus | None = None
    notes: str = ""
    owner: str = ""
    problems: tuple[LazyText, ...] = ()


_SPACES: Final = re.compile(r"[ \t\r\n]+")
"""Only ASCII spaces, as others may be half a letter of another encoding."""


def read_sheet(text: str) -> JobPlan:
    """Read a text as CSV with a head, with commas, semicolons or tabs. Raises Refused: INVALID."""
    plain = text.removeprefix("\ufeff").replace("\0", "")
    first = plain.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        return sheet_of(csv.reader(io.StringIO(plain), delimiter=delimiter))
    except csv.Error as error:
        raise Refused(errors.INVALID, "file: This is not a CSV file. Export it again as CSV.") from error


def sheet_of(table: Iterable[Sequence[str]]) -> JobPlan:
    """Return the head and the rows of a table, without empty lines. Raises Refused: INVALID."""
    rows = list(islice((tuple(row) for row in table if any(cell.strip() for cell in row)), MOST_ROWS + 2))
    head = rows[0] if rows else ()
    width = max((place for place, cell in enumerate(head, 1) if cell.strip()), default=0)
    head = head[:width]
    if width > MOST_COLUMNS:
        raise Refused(errors.INVALID, "file: The file may have at most %(most)s columns.", most=MOST_COLUMNS)
    if not 1 < len(rows) <= MOST_ROWS + 1:
        raise Refused(
            errors.INVALID, "file: The file needs 1 to %(most)s rows below the column names.", most=MOST_ROWS
        )
    head = tuple(_SPACES.sub(" ", cell).strip(" ")[:MOST_HEAD] for cell in head)
    return JobPlan(head=head, rows=tuple(rows[1:]))


def read_columns(columns: Sequence[str], count: int) -> tuple[str, ...]:
    """Read the chosen kind of each column, one of contact details among them. Raises Refused: INVALID."""
    columns_read = tuple(column if column in COLUMN_KINDS else NOT_TAKEN for column in columns[:count])
    if len(columns_read) != count or not set(columns_read) & {field.value for field in Field}:
        raise Refused(
            errors.INVALID,
            "column: choose at least one column with a phone number, an e-mail or another contact detail.",
        )
    return columns_read


def read_entry(columns: Sequence[str], cells: Sequence[str], country: str) -> ImportEntry:
    """Read one row; ``problems`` tell of invalid cells. Raises UnreadableRow without any contact detail."""
    texts: dict[str, list[str]] = {}
    contacts: list[ContactMatch] = []
    problems: list[LazyText] = []
    for column, cell in zip(columns, cells, strict=False):
        text = cell.strip().removeprefix("'")  # our own downloads guard cells with an apostrophe
        most = NOTE_LIMIT if column == ImportColumn.NOTES else MOST_CELL
        if not text or not column:
            continue
        if len(text) > most:
            problems.append(LazyText("A cell is longer than %(most)s characters.", most=most))
        elif column in list(Field):
            # One detail, or several with commas between them; and why others are none.
            parts = [part.strip() for part in re.split(r"[,;|\n]|:::", bare_contact(text))]
            for part in [part for part in parts if part][:20]:
                try:
                    contacts.append(contact_of(Field(column), part, country))
                except UnreadableRow as unfit:
                    problems.append(unfit.says)
        else:
            texts.setdefault(column, []).append(text)
    if not contacts:
        problem = problems[0] if problems else LazyText("This row has no contact detail.")
        raise UnreadableRow(problem.text, **problem.values)
    unique_contacts = {(contact.field, contact.value): contact for contact in contacts}.values()
    statuses = [_BY_STATUS.get(head_key(text)) for text in texts.get(ImportColumn.STATUS, ())]
    if None in statuses:
        problems.append(LazyText("Unknown status."))
    labels = (
        part.strip()[:LABEL_LIMIT] for text in texts.get(ImportColumn.LABELS, ()) for part in text.split(",")
    )
    return ImportEntry(
        name=" ".join(texts.get(ImportColumn.NAME, ())),
        contacts=tuple(unique_contacts),
        labels=tuple(dict.fromkeys(label for label in labels if label)),
        status=next((LeadStatus(status) for status in statuses if status), None),
        notes="\n".join(texts.get(ImportColumn.NOTES, ()))[:NOTE_LIMIT],
        owner=next(iter(texts.get(ImportColumn.OWNER, ())), ""),
        problems=tuple(problems),
    )


def contact_of(field: Field, text: str, country: str) -> ContactMatch:
    """Return a contact detail in its normal form. Raises UnreadableRow if it is invalid."""
    if field in (Field.PHONE, Field.WHATSAPP):
        number, problem = None, N_("This is not a phone number. Include the country code, such as +65.")
        with suppress(phonenumbers.NumberParseException):
            number = phonenumbers.parse(text, country or None)
            problem = N_("This phone number is not valid in its country.")
        digits = "".join(letter for letter in text if letter.isdecimal()).removeprefix("00")
        is_valid = number is not None and phonenumbers.is_valid_number(number)
        if not is_valid and _DIGITS.fullmatch(text) and len(digits) >= _LEAST_ABROAD:
            # Spreadsheets remove the plus sign before a country code.
            with suppress(phonenumbers.NumberParseException):
                number = phonenumbers.parse(f"+{digits}")
        if number is None or not phonenumbers.is_valid_number(number):
            raise UnreadableRow(problem)
        phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return ContactMatch(field, phone, 0, len(text), text, 1.0, RULE)
    plain = text.removeprefix("@")
    written = text if field is Field.EMAIL or "/" in text else f"{field.value}: @{plain}"
    contacts = detect_contacts(written, country or "SG")
    matches = [match for match in contacts if match.field is field]
    if field is Field.EMAIL:
        is_whole = len(contacts) == 1 and bool(matches) and matches[0].raw == text
        try:
            value = matches[0].value if is_whole else checked_email(text)
        except InvalidEmail as error:
            raise UnreadableRow("This is not an e-mail address.") from error
    elif len(matches) == 1:
        value = matches[0].value
    elif re.fullmatch(r"[\w.\-]{2,100}", plain):
        value = plain.lower()
    else:
        raise UnreadableRow("This is not a %(platform)s name.", platform=brand_of(field.value))
    return ContactMatch(field, value, 0, len(text), text, 1.0, RULE)
