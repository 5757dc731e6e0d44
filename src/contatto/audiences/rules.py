"""What a file of an audience must look like, and for how long it may be used."""

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from contatto.audiences.model import Audience
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.measurement.model import ConversionKind

FILE_LIFE: Final = timedelta(days=1)
"""For so long after its upload a file can be made into an audience."""
LONGEST_NAME: Final = 128
CONVERSION_OF: Final = {
    "LEAD_GENERATION": ConversionKind.LEAD,
    "BUSINESS_ACCOUNT": ConversionKind.CONVERSATION,
}
"""What makes a person a member of an audience with a rule, by the API's ``audience_type``."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEAD: Final = re.compile(r"[a-z][a-z0-9_ ]{0,40}", re.ASCII)


def read_digests(content: bytes) -> tuple[str, ...]:
    """The hashed values of a file, one a line, each once; a first line of words is its head.

    Raises:
        Refused: FILE_TYPE for what is no text, FILE_EMPTY, NOT_HASHED for a line that is no SHA-256.
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
            raise Refused(errors.NOT_HASHED, f"file: value {number} is not a SHA-256 in hexadecimal.")
    return tuple(dict.fromkeys(lines))


def digests_of(values: Iterable[str]) -> set[str]:
    """The hashed spellings under which contact values may stand in files of audiences."""
    spellings = {form for value in values for form in (value, value.lower(), value.lstrip("+"))}
    return {hashlib.sha256(each.encode("utf-8", "surrogatepass")).hexdigest() for each in spellings}


def conversion_of(audience: Audience) -> ConversionKind:
    """What makes a person a member of an audience with a rule."""
    return CONVERSION_OF[json.loads(audience.spec)["audience_type"]]


def check_fresh(uploaded_at: datetime, now: datetime) -> None:
    """Refuse a file that was uploaded too long ago.

    Raises:
        Refused: FILE_EXPIRED.
    """
    if now - uploaded_at > FILE_LIFE:
        raise Refused(errors.FILE_EXPIRED)


def check_audience_name(text: str) -> str:
    """A name without blank ends.

    Raises:
        Refused: INVALID.
    """
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Refused(errors.INVALID, f"custom_audience_name: give 1 to {LONGEST_NAME} characters.")
    return name
