"""Rules of signals: due steps, consent, credit, hashing, retries and reasons."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from contatto.ad_platforms.rules import STOPS
from contatto.forms.model import ConsentReceipt
from contatto.integrations.model import SENDING_REASONS, Denied
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.model import DISMISSED, EXPIRED, Failed, NotNow, RetryPlan, SendFailure
from contatto.leads.model import HistoryEntry, HistoryKind, LeadStatus
from contatto.leads.rules.records import ARROW
from contatto.signals.model import AdSignal, ConsentRule, SignalSettings, SignalStep

STEP_OF: Final[Mapping[LeadStatus, SignalStep]] = {
    LeadStatus.QUALIFIED: SignalStep.QUALIFIED,
    LeadStatus.CONVERTED: SignalStep.CONVERTED,
    LeadStatus.UNQUALIFIED: SignalStep.DISQUALIFIED,
}
VALID_IN: Final[Mapping[SignalStep, frozenset[LeadStatus]]] = {
    SignalStep.QUALIFIED: frozenset({LeadStatus.QUALIFIED, LeadStatus.CONVERTED}),
    SignalStep.CONVERTED: frozenset({LeadStatus.CONVERTED}),
    SignalStep.DISQUALIFIED: frozenset({LeadStatus.UNQUALIFIED}),
}
"""Statuses in which a lead's step is still true when its signal is sent; other steps need none."""
EVENT_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_ .-]{0,49}", re.ASCII)
"""Valid event names. Source: TikTok, Events API: up to 50 characters."""


def reached_at(status: LeadStatus, history: Iterable[HistoryEntry], created_at: datetime) -> datetime:
    """Return the last time at which a lead got a status; its creation without a change."""
    changes = (HistoryKind.STATUS, HistoryKind.STATUS_UNDONE)
    times = [
        entry.at
        for entry in history
        if entry.what in changes and entry.detail.endswith(f"{ARROW}{status.value}")
    ]
    return max(times, default=created_at)


def steps_due(
    settings: SignalSettings, named: Collection[SignalStep], reached: Mapping[SignalStep, datetime]
) -> dict[SignalStep, datetime]:
    """Return the steps to send to an account with their times, the earliest first.

    Args:
        settings: the chosen steps, and the start of signals.
        named: the steps with an event name at the platform.
        reached: the steps of the lead; platforms know times by the second.
    """
    start = settings.started_at.replace(microsecond=0)
    due = {
        step: at for step, at in reached.items() if step in settings.steps and step in named and at >= start
    }
    return dict(sorted(due.items(), key=lambda pair: (pair[1], list(SignalStep).index(pair[0]))))


def name_of(settings: SignalSettings, names: Mapping[SignalStep, str], step: SignalStep) -> str:
    """Return the event name of a step: the business's own, or the platform's."""
    return settings.names.get(step) or names.get(step, "")


def has_consent(rule: ConsentRule, receipts: Iterable[ConsentReceipt]) -> bool:
    """Report whether signals of a person may be sent; the last answer to each question counts."""
    agreed: dict[str, bool] = {}
    for receipt in sorted(receipts, key=lambda receipt: receipt.at):
        agreed[receipt.text] = receipt.given
    return all(agreed.values()) and (bool(agreed) or rule is ConsentRule.NOT_REFUSED)


def credited_account(advertiser: str, ad_account_id: str, accounts: Mapping[str, str]) -> str:
    """Return which of some ad accounts of one platform a tap belongs to; "" if none or ambiguous.

    Args:
        advertiser: the platform's id of the ad's account, if it reported it.
        ad_account_id: our id of the account that has the ad, if one has it.
        accounts: the platform's ids of the accounts by our ids.
    """
    if advertiser:
        return next((account_id for account_id, number in accounts.items() if number == advertiser), "")
    if ad_account_id:
        return ad_account_id if ad_account_id in accounts else ""
    return next(iter(accounts)) if len(accounts) == 1 else ""


# Normal forms of contact details and their SHA-256. Source: TikTok, Events API 2.0: e-mail in small letters
# without spaces around it, phone in E.164 with its plus sign, both and ``external_id`` as SHA-256 in hex.
# Meta, Conversions API, customer information parameters: the same, but phones are digits alone.


def normal_email(text: str) -> str:
    """Return an e-mail address in small letters without outer spaces; dots and tags stay."""
    return text.strip().lower()


def plus_phone(text: str) -> str:
    """Return a phone number as TikTok hashes it: a plus sign and digits; "" unless international.

    Meta hashes the digits alone.
    """
    text = text.strip()
    digits = "".join(char for char in text if char.isascii() and char.isdigit())
    return f"+{digits}" if digits and text.startswith("+") else ""


def digests(texts: Iterable[str]) -> list[str]:
    """Return the digests of the texts that are not empty, without duplicates, in their order."""
    contents = [text.encode("utf-8", "surrogatepass") for text in texts if text]
    return list(dict.fromkeys(hashlib.sha256(content).hexdigest() for content in contents))


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

REASONS: Final[Mapping[str, str]] = {
    **STOPS,
    **SENDING_REASONS,
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
    "dismissed": N_("Cancelled by a member"),
}
"""Texts by the codes of connectors, of these rules and of outbound requests."""


def reason_text(reason: str) -> LazyText | str:
    """Return the text of a code; a code of the platform's own is shown as its number."""
    if reason in REASONS:
        return LazyText(REASONS[reason])
    kind, _, number = reason.partition("_")
    if kind in ("platform", "http") and number.isdigit():
        return LazyText(N_("The platform returned error %(code)s"), code=number)
    return reason


def block_signals(failure: NotNow | Failed) -> NotNow | Failed | Denied:
    """Return a failure, or `Denied` for one of the token or data set, which blocks all signals."""
    if failure.reason in (TOKEN_REFUSED, TOKEN_MISSING, DATASET_GONE):
        return Denied(failure.reason)
    return failure


SIGNAL_PLAN: Final = RetryPlan((30, 120, 600, 1_800, 7_200, *(21_600,) * 26), timedelta(days=7))
"""Soon, then every six hours for a week: platforms accept no older event."""
TEST_PLAN: Final = RetryPlan((5, 20))
OLDEST: Final = timedelta(days=7)
"""Source: Meta, Conversions API: ``event_time`` is at most seven days before the event is sent."""
COUNTED_ONCE: Final = timedelta(hours=47)
"""Time in which it is safe to send the same event id again after a lost response.

Source: TikTok and Meta leave out an event with the same id and name for 48 hours; an hour is for clocks.
"""
UNSURE: Final = frozenset(
    {*(SendFailure.LOST, SendFailure.BROKEN), EXPIRED, DISMISSED}
    | {MAYBE_COUNTED, TOO_OLD, "not_json", "platform_away"}
)
"""Reasons of failures after which the platform may have counted the event."""


def cannot_be_sent(signal: AdSignal, at: datetime) -> str:
    """Return the reason why a platform would ignore a signal or might count it twice, or "" for neither."""
    if signal.unsure_at is not None and at - signal.unsure_at > COUNTED_ONCE:
        return MAYBE_COUNTED
    return TOO_OLD if at - signal.occurred_at > OLDEST else ""
