"""Formats of audience files and lists, and the state of an audience."""

import csv
import hashlib
import io
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Final

import msgspec

from contatto.audiences.model import Audience, AudienceKind, Fingerprint, ListKind, Lookalike, LookalikeSpec
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.values import read_number
from contatto.leads.rules.importing import UnreadableRow, read_entry
from contatto.measurement.model import ConversionKind

FILE_LIFE: Final = timedelta(days=1)
"""Time after the upload in which a file can become an audience."""
LONGEST_NAME: Final = 128
MOST_LINES: Final = 50_000
"""Lines of a list that is typed or pasted in."""
PRINT_BYTES: Final = 16
NO_PRINT: Final = bytes(PRINT_BYTES)
"""Placeholder for the value of an erased person."""
CONVERSION_OF: Final = {
    "LEAD_GENERATION": ConversionKind.LEAD,
    "BUSINESS_ACCOUNT": ConversionKind.CONVERSATION,
}
"""Conversion that makes a person a member of a rule audience, by the API's ``audience_type``."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEAD: Final = re.compile(r"[a-z][a-z0-9_ -]{0,40}", re.ASCII)


def read_digests(content: bytes) -> tuple[str, ...]:
    """Return the distinct hashed values of a file, one per line; a first line of words is its head.

    Raises FILE_TYPE for a binary file, FILE_EMPTY, NOT_HASHED for a line that is no SHA-256.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(errors.FILE_TYPE) from error
    lines = [line.strip().strip('"').lower() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if lines and _HEAD.fullmatch(lines[0]) and not _SHA256.fullmatch(lines[0]):
        lines = lines[1:]
    if not lines:
        raise Refused(errors.FILE_EMPTY)
    for number, line in enumerate(lines, 1):
        if not _SHA256.fullmatch(line):
            problem = N_("file: Value %(number)s is not a SHA-256 hash in hexadecimal.")
            raise Refused(errors.NOT_HASHED, problem, number=number)
    return tuple(dict.fromkeys(lines))


def split_prints(joined: bytes) -> list[Fingerprint]:
    """Split the joined fingerprints of a file; NO_PRINT may be one of them."""
    return [joined[start : start + PRINT_BYTES] for start in range(0, len(joined), PRINT_BYTES)]


def conversion_of(audience: Audience) -> ConversionKind:
    """Return the conversion that makes a person a member of a rule audience."""
    return CONVERSION_OF[json.loads(audience.spec)["audience_type"]]


def check_audience_name(text: str) -> str:
    """Check a name, and return it without outer spaces."""
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        problem = N_("custom_audience_name: Enter a name of 1 to %(most)s characters.")
        raise Refused(errors.INVALID, problem, most=LONGEST_NAME)
    return name


_COLUMNS: Final = {
    ListKind.EMAIL: ("email", "e-mail", "mail", "email address"),
    ListKind.PHONE: ("phone", "phone number", "phone_number", "telephone", "mobile", "tel"),
}
_FIELDS: Final = {ListKind.EMAIL: "email", ListKind.PHONE: "phone"}
NO_VALUE: Final = {
    ListKind.EMAIL: N_("No valid e-mail address found."),
    ListKind.PHONE: N_("No valid phone number found. Write it with the country code, such as +65."),
}
"""Errors of a line; they quote no contact value."""


@dataclass(frozen=True, slots=True)
class LineFault:
    """Line of a list that cannot be used, and the reason."""

    line: int
    says: str


@dataclass(frozen=True, slots=True)
class Customers:
    """Distinct digests of the values of a list, and its faults."""

    digests: tuple[str, ...]
    faults: tuple[LineFault, ...]


def read_customers(text: str, kind: ListKind, country: str) -> Customers:
    """Read a list of customers as CSV, with or without a head, and hash its values.

    It reads the column named as the kind, or the first one. E-mail addresses are hashed in small letters,
    phone numbers as E.164 with their plus sign, those without one in ``country`` (two letters, or none).
    A SHA-256 stays as it is.

    Raises INVALID for a file that is no CSV or too long, FILE_EMPTY without any line.
    """
    plain = text.removeprefix("\ufeff").replace("\0", "")
    first = plain.partition("\n")[0]
    reader = csv.reader(io.StringIO(plain), delimiter=max(",;\t", key=first.count))
    try:
        lines = ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
        rows = list(islice(lines, MOST_LINES + 2))
    except csv.Error as error:
        raise Refused(errors.INVALID, "text: This is not a CSV file. Export it again as CSV.") from error
    column = 0
    if rows:
        head = [" ".join(cell.casefold().split()) for cell in rows[0][1]]
        named = [place for place, word in enumerate(head) if word in _COLUMNS[kind]]
        column = named[0] if named else 0
        if named or all(_HEAD.fullmatch(word) and not _SHA256.fullmatch(word) for word in head if word):
            rows = rows[1:]
    if not rows:
        raise Refused(errors.FILE_EMPTY)
    if len(rows) > MOST_LINES:
        raise Refused(errors.INVALID, "text: The list may have at most %(most)s lines.", most=MOST_LINES)
    digests: dict[str, None] = {}
    faults: list[LineFault] = []
    for line, row in rows:
        cell = row[column].strip() if len(row) > column else ""
        cell_digests = [cell.lower()] if _SHA256.fullmatch(cell.lower()) else []
        if not cell_digests:
            with suppress(UnreadableRow):
                contacts = read_entry((_FIELDS[kind],), (cell,), country).contacts
                cell_digests = [hashlib.sha256(item.value.lower().encode()).hexdigest() for item in contacts]
        digests |= dict.fromkeys(cell_digests)
        if not cell_digests:
            faults.append(LineFault(line, NO_VALUE[kind]))
    return Customers(tuple(digests), tuple(faults))


_SOURCES: Final = {
    "EMAIL_SHA256": N_("List of e-mail addresses"),
    "PHONE_SHA256": N_("List of phone numbers"),
    ConversionKind.LEAD: N_("People who became a lead"),
    ConversionKind.CONVERSATION: N_("People who started a chat"),
}


def state_of(audience: Audience, size: int) -> tuple[str, str, str]:
    """Return the name of an audience's state, its badge, and why ads reach no one, if so; not translated."""
    if audience.kind is AudienceKind.RULE:
        return N_("Rule-based"), "on", ""
    if size:
        return N_("Ready"), "on", ""
    if audience.kind is AudienceKind.LOOKALIKE:
        return N_("Processing"), "review", N_("Ads reach no one until the audience is ready.")
    return N_("Empty"), "off", N_("The audience is empty, so ads reach no one.")


def source_text(audience: Audience) -> str:
    """Return the source of an audience's members, to be translated by the caller."""
    if audience.kind is AudienceKind.LOOKALIKE:
        return N_("Source audience")
    key = conversion_of(audience) if audience.kind is AudienceKind.RULE else audience.calculate_type
    return _SOURCES.get(key, N_("List of hashed values"))


def source_number(audience: Audience) -> int | None:
    """Return the number of a lookalike's source audience."""
    if audience.kind is not AudienceKind.LOOKALIKE:
        return None
    return read_number(msgspec.json.decode(audience.spec, type=LookalikeSpec).source_audience_id)


def span_of(result: Lookalike | None) -> tuple[float, float] | None:
    """Return the 80% interval of a lookalike's lift, if known."""
    if result is None or result.low is None or result.high is None:
        return None
    return result.low, result.high
