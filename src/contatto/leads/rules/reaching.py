"""The links by which a lead is called, mailed or written to from its page."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import phonenumbers

from contatto.capture.model import Field

_MOBILE: Final = (
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
)


@dataclass(frozen=True, slots=True)
class Reach:
    """A link that calls or mails, and one that opens WhatsApp; "" where there is none."""

    href: str = ""
    whatsapp: str = ""


def reach_of(field: Field, value: str) -> Reach:
    """The links of a contact detail; a phone has WhatsApp only if it may be a mobile one."""
    if field is Field.EMAIL:
        return Reach(f"mailto:{quote(value, safe='@')}")
    if field not in (Field.PHONE, Field.WHATSAPP):
        return Reach()
    digits = value.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return Reach()
    writes = field is Field.WHATSAPP or _is_mobile(value)
    return Reach(f"tel:+{digits}", f"https://wa.me/{digits}" if writes else "")


def _is_mobile(value: str) -> bool:
    try:
        return phonenumbers.number_type(phonenumbers.parse(value, None)) in _MOBILE
    except phonenumbers.NumberParseException:
        return False
