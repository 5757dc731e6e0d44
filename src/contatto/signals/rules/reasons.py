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
    NO_CONSENT: N_("The person has not agreed, or has refused"),
    LEAD_GONE: N_("This lead is not in the lists any more"),
    NOBODY_TO_MATCH: N_("There is nothing that the platform could find the person by"),
    NO_CLICK_ID: N_("WhatsApp told no click id of the ad, and Meta takes no signal without it"),
    NO_WHATSAPP_ACCOUNT: N_("Give the id of the WhatsApp Business account in these settings"),
    NO_VALUE: N_("Meta takes a purchase only with an amount: no CRM told one, and these settings have none"),
    NOT_WANTED: N_("This step is not chosen any more"),
    TAKEN_BACK: N_("The status was changed again before it was told"),
    TOO_OLD: N_("It is more than seven days ago, and the platform takes nothing older"),
    MAYBE_COUNTED: N_(
        "The platform may have counted it already, two days ago or more: sent again, it would count twice"
    ),
    EVENT_REFUSED: N_("The platform does not take this event"),
    DATASET_GONE: N_("The platform has no such data set, or the token does not reach it"),
    PAUSED: N_("A member holds signals back"),
    "answer_lost": N_("No response received"),
    "broken": N_("Something went wrong in Contatto and was logged. Try again."),
    "expired": N_("The time limit for sending has passed"),
    "forbidden_address": N_("Address not allowed"),
    "dismissed": N_("Somebody gave it up"),
    "unreached": N_("Server not reached"),
}
"""By the codes of connectors, of these rules and of the outbound machine."""


def reason_text(reason: str) -> LazyText | str:
    """A code as a sentence; one that is the platform's alone, with its number."""
    if reason in REASONS:
        return LazyText(REASONS[reason])
    kind, _, number = reason.partition("_")
    if kind in ("platform", "http") and number.isdigit():
        return LazyText(N_("The platform answered %(code)s"), code=number)
    return reason
