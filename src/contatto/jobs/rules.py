"""Failed background work in words; gauges in the Prometheus text format."""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contatto.ad_platforms.model import PULL
from contatto.ad_platforms.rules import STOPS
from contatto.channels.model import CHECK
from contatto.channels.rules import check_text
from contatto.crm.rules.deliveries import CONSENT, consent_text
from contatto.crm.rules.deliveries import reason_text as crm_reason
from contatto.inbox.model import REPLY
from contatto.inbox.rules import stop_text
from contatto.kit.errors import check_found
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.model import OutboundRequest, RequestState
from contatto.signals.model import SIGNAL, SIGNAL_TEST
from contatto.signals.rules import reason_text as signal_reason


@dataclass(frozen=True, slots=True)
class FailedWork:
    """Failed job; ``about`` has the ids of its subjects by field name."""

    job: OutboundRequest
    about: tuple[tuple[str, str], ...]

    @property
    def id(self) -> str:
        return f"job-{self.job.id}"

    @property
    def is_dead(self) -> bool:
        """Return whether the worker does not retry it any more."""
        return self.job.state is RequestState.DEAD


@dataclass(frozen=True, slots=True)
class FailedCounts:
    """Number of dead letters, and of failed work with further attempts."""

    dead: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """Result of a bulk replay: replayed, refused, and the last id of the batch; None after the last one."""

    done: int
    refused: int
    last: int | None = None


_ID: Final = re.compile(r"job-([1-9][0-9]{0,17})", re.ASCII)
_LEAD: Final = N_("Send a lead to a webhook")
_MESSAGE: Final = N_("Send a message to a webhook")
_LEARN: Final = N_("Learn from the outcome of an ad")
_ALERT: Final = N_("Notify members")
_FORGET: Final = N_("Delete the data of a removed lead")
WORK: Final[Mapping[str, str]] = {
    PULL: N_("Sync an external ad account"),
    SIGNAL: N_("Send a lead outcome to an ad platform"),
    SIGNAL_TEST: N_("Send a test event to an ad platform"),
    "alert_assignment": _ALERT,
    "alert_channel": _ALERT,
    "alert_lead": _ALERT,
    "alert_message": _ALERT,
    "alert_push": N_("Show an alert in a browser"),
    CHECK: N_("Check a channel account"),
    "continue_job": N_("Change many leads"),
    "credit_referrals": N_("Credit chats to external ads"),
    "crm_check": N_("Load the fields of a CRM"),
    CONSENT: N_("Authorize access to a CRM"),
    "crm_delivery": N_("Send a lead to a CRM"),
    "crm_erasure": N_("Erase a person in a CRM"),
    "crm_poll": N_("Load changes from a CRM"),
    "crm_comparison": N_("Compare CRM records with our leads"),
    "crm_trial": N_("Test a lead with a CRM, without writing"),
    "forget_lead": _FORGET,
    "forget_lead_pushes": _FORGET,
    "lead_changed_hook": _LEAD,
    "lead_created_hook": _LEAD,
    "lead_push": _LEAD,
    "judge_message": N_("Check a chat for spam"),
    "learn_conversation": _LEARN,
    "learn_lead": _LEARN,
    "learn_quality": _LEARN,
    "learn_spam": _LEARN,
    "mail": N_("Send an e-mail"),
    "message_push": _MESSAGE,
    "note_lead": N_("Count a lead for the reports"),
    "post_notice": N_("Add the lead notice to a chat"),
    "push_form_lead": _LEAD,
    "push_hooks": _LEAD,
    "push_lead": _LEAD,
    "push_message": _MESSAGE,
    "push_read": _MESSAGE,
    "push_tap": _MESSAGE,
    "push_test_lead": _LEAD,
    REPLY: N_("Send a reply to the platform"),
    "signal_spam": N_("Send a lead outcome to an ad platform"),
    "signal_tap": N_("Send a lead outcome to an ad platform"),
}
"""Texts of work by the name of an event handler or of a kind of requests."""
REASONS: Final[Mapping[str, str]] = {
    "unknown handler": N_("Unknown job type. It waits for an update of Contatto.")
}
"""Texts of errors of event handlers; `crm.rules.deliveries` has those of most requests."""
_OWN_REASONS: Final[Mapping[str, Callable[[str], LazyText | str]]] = {
    REPLY: stop_text,
    CONSENT: consent_text,
    CHECK: check_text,
    SIGNAL: signal_reason,
    SIGNAL_TEST: signal_reason,
}
"""Error texts of kinds of requests that explain their own errors."""


def read_id(text: str) -> int:
    """Parse the id of failed work into its number; raises NOT_FOUND for a malformed id."""
    match = check_found(_ID.fullmatch(text), "Failed job not found.")
    return int(match[1])


def ids_in(payload: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the ids of an event; the page shows nothing else of it."""
    ids = ((name, value) for name, value in payload.items() if name.endswith("_id"))
    return tuple((name, str(value)) for name, value in ids if value and name != "business_id")


def work_text(kind: str) -> LazyText | str:
    """Return the text of a kind of work; an unknown name as it is."""
    return LazyText(WORK[kind]) if kind in WORK else kind


def reason_text(kind: str, reason: str) -> LazyText | str:
    """Return the text of the last error; an unknown code or a place in the source as it is."""
    if kind in _OWN_REASONS:
        return _OWN_REASONS[kind](reason)
    if kind == PULL and reason in STOPS:
        return LazyText(STOPS[reason])
    return LazyText(REASONS[reason]) if reason in REASONS else crm_reason(reason)


@dataclass(frozen=True, slots=True)
class Sample:
    """Value of a gauge; labels contain only ids and codes, no names and no contact values."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """Metric with its current values.

    Attributes:
        name: name without the prefix ``contatto_``.
        help_text: one line of help.
    """

    name: str
    help_text: str
    samples: Sequence[Sample]


CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def write_gauges(gauges: Iterable[Gauge]) -> str:
    """Format gauges as text.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text-based format).
    """
    lines = []
    for gauge in gauges:
        name = f"contatto_{gauge.name}"
        lines += [f"# HELP {name} {_escape(gauge.help_text)}", f"# TYPE {name} gauge"]
        for sample in gauge.samples:
            pairs = ",".join(f'{label}="{_escape(text, quote=True)}"' for label, text in sample.labels)
            lines.append(f"{name}{f'{{{pairs}}}' if pairs else ''} {sample.value:.15g}")
    return "\n".join([*lines, ""])


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def may_scrape(token: str, header: str) -> bool:
    """Check the token of an ``Authorization`` header; without a configured token, refuse everyone."""
    scheme, _, credentials = header.partition(" ")
    is_same = hmac.compare_digest(credentials.strip().encode(), token.encode())
    return bool(token) and scheme.lower() == "bearer" and is_same
