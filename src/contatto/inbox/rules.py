"""How deliveries are labelled and judged, how a thread is ordered, where evidence stands in a text."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from contatto.channels.model import Chatted, Incoming, Label, Platform, Referred, Unusable, WasRead
from contatto.inbox.model import ReceiptState
from contatto.leads.model import Evidence

ID_LIMIT: Final = 128
MESSAGE_ID_LIMIT: Final = 256
"""Longer, because on our chat page it is the visitor's id and the message's own one."""
TEXT_LIMIT: Final = 6_000
"""Most characters of a message that we send or take from the chat page (the API's own limit for a text)."""
SNIPPET_LIMIT: Final = 120


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a message's text, and the evidence that underlines it (None for plain text)."""

    text: str
    match: Evidence | None


def receipt_row(
    business_id: str, platform: Platform, label: Label, body: bytes, at: datetime
) -> dict[str, Any]:
    """A delivery as it comes in, its body sealed. Labels are a stranger's text, so they are made storable."""
    natural = label.natural_key
    if not natural.isprintable():
        natural = f"text:{hashlib.sha256(natural.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return {
        "business_id": business_id,
        "platform": platform,
        "account": label.account if label.account.isprintable() else "",
        "natural_key": natural,
        "body": body,
        "copies": 1,
        "state": ReceiptState.RECEIVED,
        "reason": None,
        "attempts": 0,
        "received_at": at,
    }


def refusal_reason(incoming: Incoming) -> str | None:
    """Why a delivery cannot be stored, or None when it can."""
    if isinstance(incoming, Unusable):
        return incoming.reason
    ids = [(incoming.conversation_id, ID_LIMIT), (incoming.person_id, ID_LIMIT)]
    if isinstance(incoming, Chatted):
        ids.append((incoming.message_id, MESSAGE_ID_LIMIT))
    if not all(0 < len(each) <= limit and each.isprintable() for each, limit in ids):
        return "unusable_id"
    return None


def shown_name(incoming: Chatted | Referred | WasRead) -> str:
    """The profile's name, cleaned; empty when there is none."""
    name = "" if isinstance(incoming, WasRead) else incoming.person_name
    return "".join(letter for letter in name if letter.isprintable()).strip()[:ID_LIMIT]


def snippet(text: str) -> str:
    """The beginning of a message on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET_LIMIT else f"{line[: SNIPPET_LIMIT - 1]}…"


def cut_segments(text: str, evidence: Iterable[Evidence]) -> list[Segment]:
    """Cut a text at its evidence, in order; overlapping spans keep the first, spans outside are ignored."""
    segments: list[Segment] = []
    done = 0
    for item in sorted(evidence, key=lambda each: (each.start, -each.end)):
        if not done <= item.start < item.end <= len(text):
            continue
        if item.start > done:
            segments.append(Segment(text[done : item.start], None))
        segments.append(Segment(text[item.start : item.end], item))
        done = item.end
    if done < len(text) or not segments:
        segments.append(Segment(text[done:], None))
    return segments
