"""TikTok Events API 2.0 with ``event_source`` crm: what became of a lead, to a CRM event set.

Source: TikTok API for Business v1.3, ``/event/track/``: ``event_source_id`` is the CRM event set; each event
has ``event`` (a free name, mapped to a standard one in Events Manager), ``event_time`` in seconds,
``event_id``, ``user`` with SHA-256 of e-mail, phone and ``external_id`` and the click id in clear,
``properties`` with ``value`` and ``currency``, and ``lead``. Answers come with 200 and a ``code``; 20001
names the events that were not taken.
"""

from typing import Any, Final

import msgspec

from contatto.ad_platforms.connectors.tiktok import tiktok_failure
from contatto.ad_platforms.model import AdPlatform
from contatto.kit.numbers import to_units
from contatto.kit.outbound.model import Done, Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.texts import JSON_ERRORS
from contatto.signals.model.events import Feed, ShutOut, SignalEvent, SignalOutcome, Whom
from contatto.signals.model.settings import Step
from contatto.signals.rules.hashing import digests, normal_email, plus_phone
from contatto.signals.rules.reasons import (
    DATASET_GONE,
    EVENT_REFUSED,
    NOBODY_TO_MATCH,
    end_of,
)

SOURCE: Final = "Contatto"
"""Whose leads these are, as ``lead_event_source``."""
_PARTLY: Final = 20001
_OF_SET: Final = "event_source_id"


class _Data(msgspec.Struct):
    failed_events: list[Any] = []


class _Answer(msgspec.Struct):
    code: int
    message: str = ""
    data: _Data | None = None


_answers: Final = msgspec.json.Decoder(_Answer)


class TikTokSignals:
    """The connector; it keeps no state."""

    platform = AdPlatform.TIKTOK
    takes_any_name = True

    @property
    def names(self) -> dict[Step, str]:
        return {
            Step.CAPTURED: "SubmitForm",
            Step.QUALIFIED: "qualified_lead",
            Step.CONVERTED: "converted_lead",
            Step.DISQUALIFIED: "disqualified_lead",
            Step.SPAM: "spam",
        }

    def lacks(self, event: SignalEvent) -> str:
        whom = event.whom
        user = _user(whom)
        found_by = ("email", "phone", "ttclid")
        return "" if any(user.get(name) for name in found_by) else NOBODY_TO_MATCH

    def ask(self, feed: Feed, event: SignalEvent) -> HttpRequest:
        lead = {"lead_id": str(event.lead_number), "lead_event_source": SOURCE}
        told: dict[str, Any] = {
            "event": event.name,
            "event_time": int(event.occurred_at.timestamp()),
            "event_id": event.event_id,
            "user": _user(event.whom),
            "lead": lead,
        }
        if event.value_micros is not None:
            value = float(to_units(event.value_micros))
            told["properties"] = {"value": value, "currency": event.currency}
        body: dict[str, Any] = {"event_source": "crm", "event_source_id": feed.dataset_id, "data": [told]}
        if feed.test_code:
            body["test_event_code"] = feed.test_code
        headers = {"Access-Token": feed.access_token, "Content-Type": "application/json"}
        url = f"{feed.base_url}/open_api/v1.3/event/track/"
        return HttpRequest("POST", url, headers, msgspec.json.encode(body))

    def read(self, answer: HttpAnswer) -> SignalOutcome:
        try:
            said = _answers.decode(answer.body)
        except JSON_ERRORS:
            return end_of(tiktok_failure(answer, 0) or NotNow("not_json", retry_after_s(answer)))
        if answer.status == 200 and said.code == _PARTLY:
            return Failed(EVENT_REFUSED)
        failure = tiktok_failure(answer, said.code) or _refused(said)
        if isinstance(failure, Failed) and _OF_SET in said.message:
            return ShutOut(DATASET_GONE)
        return end_of(failure) if failure else Done()


def _refused(said: _Answer) -> Failed | None:
    return Failed(EVENT_REFUSED) if said.data is not None and said.data.failed_events else None


def _user(whom: Whom) -> dict[str, Any]:
    hashed = {
        "email": digests(normal_email(text) for text in whom.emails),
        "phone": digests(plus_phone(text) for text in whom.phones),
        "external_id": digests([whom.external_id]),
    }
    told: dict[str, Any] = {name: values for name, values in hashed.items() if values}
    return told | ({"ttclid": whom.click_id} if whom.click_id else {})
