"""Why a person's consent at a vendor's brought us no tokens, in words that say what to do."""

from collections.abc import Mapping
from typing import Final

from contatto.kit.i18n import N_, LazyText

DENIED: Final = "access_denied"
"""The person said no. Source: RFC 6749, 4.1.2.1."""
_EXPIRED_PERMISSION: Final = N_("The permission has expired or was already used. Grant access again.")
_APP: Final = N_("The client ID and client secret do not match. Correct them below.")
_RETURN: Final = N_("The app at the CRM vendor has a different return address. Register the address below.")
_TEXTS: Final[Mapping[str, str]] = {
    DENIED: N_("Access was not granted. Nothing was changed."),
    "answer_lost": N_("No response received. Grant access again."),
    "expired": _EXPIRED_PERMISSION,
    "unreached": N_("The CRM vendor could not be reached. Grant access again."),
}
_PARTS: Final = (
    ("redirect", _RETURN),
    ("client", _APP),
    ("code", _EXPIRED_PERMISSION),
    ("grant", _EXPIRED_PERMISSION),
)
"""What stands in a vendor's code, in the order in which it is looked for."""
_UNKNOWN_REFUSAL: Final = N_("The CRM vendor refused: %(code)s")


def consent_text(reason: str) -> LazyText:
    """What a code of a vendor, or of the machine, means for a person."""
    if reason in _TEXTS:
        return LazyText(_TEXTS[reason])
    found = next((text for part, text in _PARTS if part in reason), "")
    return LazyText(found) if found else LazyText(_UNKNOWN_REFUSAL, code=reason[:60])
