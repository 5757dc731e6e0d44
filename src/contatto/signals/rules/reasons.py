"""Why a signal did not get there, or may not leave, in words for people."""

from collections.abc import Mapping
from typing import Final

from contatto.ad_platforms.rules.pulling import STOPS
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.model import Failed, NotNow
from contatto.signals.model.events import ShutOut

NO_CONSENT: Final = "no_consent"
LEAD_GONE: Final = "lead_gone"
NOBODY_TO_MATCH: Final = "nobody_to_match"
NO_CLICK_ID: Final = "no_click_id"
NO_WHATSAPP_ACCOUNT: Final = "no_whatsapp_account"
NO_VALUE: Final = "no_value"
NOT_WANTED: Final = "not_wanted"
TAKEN_BACK: Final = "taken_back"
TOO_OLD: Final = "too_old"
MAYBE_COUNTED: Final = "maybe_counted"
EVENT_REFUSED: Final = "event_refused"
DATASET_GONE: Final = "dataset_gone"
TOKEN_REFUSED: Final = "token_refused"  # noqa: S105  # a code for people
TOKEN_MISSING: Final = "token_missing"  # noqa: S105  # a code for people
PAUSED: Final = "paused"

SHUTS_OUT: Final = frozenset({TOKEN_REFUSED, TOKEN_MISSING, DATASET_GONE})
"""After these nothing would be taken: what is due waits until a person has changed something."""


def end_of(failure: NotNow | Failed) -> NotNow | Failed | ShutOut:
    """What a failure of an ad platform means for signals: some shut all of them out."""
    return ShutOut(failure.reason) if failure.reason in SHUTS_OUT else failure


REASONS: Final[Mapping[str, str]] = {
    **STOPS,
    NO_CONSENT: N_("The person has not given consent"),
    LEAD_GONE: N_("This lead was removed"),
    NOBODY_TO_MATCH: N_("The lead has no e-mail or phone to match the person"),
    NO_CLICK_ID: N_("WhatsApp sent no click ID of the ad, and Meta requires one"),
    NO_WHATSAPP_ACCOUNT: N_("Add the ID of the WhatsApp Business account in the signal settings"),
    NO_VALUE: N_(
        "Meta requires an amount for a purchase: the CRM sent none, and the signal settings have none"
    ),
    NOT_WANTED: N_("This stage is no longer selected"),
    TAKEN_BACK: N_("The status changed again before the signal was sent"),
    TOO_OLD: N_("Older than seven days, which the platform does not accept"),
    MAYBE_COUNTED: N_(
        "The platform may have counted this event already. Sent again after two days, it could count twice"
    ),
    EVENT_REFUSED: N_("The platform rejects this event"),
    DATASET_GONE: N_("The data set does not exist, or the token has no access to it"),
    PAUSED: N_("A member paused signals"),
    "answer_lost": N_("No response received"),
    "broken": N_("Something went wrong in Contatto and was logged. Try again."),
    "expired": N_("The time limit for sending has passed"),
    "forbidden_address": N_("Address not allowed"),
    "dismissed": N_("Cancelled by a member"),
    "unreached": N_("Server not reached"),
}
"""By the codes of connectors, of these rules and of the outbound machine."""


def reason_text(reason: str) -> LazyText | str:
    """A code as a sentence; one that is the platform's alone, with its number."""
    if reason in REASONS:
        return LazyText(REASONS[reason])
    kind, _, number = reason.partition("_")
    if kind in ("platform", "http") and number.isdigit():
        return LazyText(N_("The platform returned error %(code)s"), code=number)
    return reason
