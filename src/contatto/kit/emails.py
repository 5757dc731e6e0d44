"""The one check of e-mail addresses that people type."""

from email.utils import parseaddr
from typing import Final

import email_validator

_LEAST_TOP_LEVEL: Final = 2
# Companies use `.local` inside their own network, and an installation may serve one of them.
email_validator.SPECIAL_USE_DOMAIN_NAMES = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name != "local"
]


class InvalidEmail(ValueError):
    """A text that is not an e-mail address."""


def checked_email(text: str) -> str:
    """Return an address with its domain in lower case, without a DNS query.

    Raises:
        InvalidEmail: the text is not one plain address, such as ``<a@b>`` or ``a;b@example.com``.
    """
    try:
        address = email_validator.validate_email(text.strip(), check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError as error:
        raise InvalidEmail(str(error)) from error
    top_level = (address.ascii_domain or address.domain).rpartition(".")[2]
    if len(top_level) < _LEAST_TOP_LEVEL or top_level.isdigit():
        raise InvalidEmail("The domain must end in letters.")
    return address.normalized


def checked_sender(text: str) -> str:
    """Return the address of a sender such as ``Contatto <contatto@example.com>``.

    Raises:
        InvalidEmail: it has no address, or a wrong one.
    """
    return checked_email(parseaddr(text)[1])
