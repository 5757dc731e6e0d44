"""Meta Conversions API for business messaging: what became of a lead, to a data set.

Source: Meta, Conversions API for Business Messaging: ``POST /<data set>/events`` with ``action_source``
business_messaging and ``messaging_channel``. WhatsApp is told by ``whatsapp_business_account_id`` and
``ctwa_clid``, Messenger by ``page_id`` and ``page_scoped_user_id``, Instagram by
``instagram_business_account_id`` and ``ig_sid``; none of these is hashed. E-mail, phone and ``external_id``
are SHA-256. Purchase needs ``value`` and ``currency``. Events are at most seven days old.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from contatto.ad_platforms.connectors.meta import VERSION, meta_failure
from contatto.ad_platforms.model import AdPlatform
from contatto.channels.model import Platform
from contatto.kit.numbers import to_units
from contatto.kit.outbound.model import Done, Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.texts import JSON_ERRORS
from contatto.signals.model.events import Feed, ShutOut, SignalEvent, SignalOutcome, Whom
from contatto.signals.model.settings import Step
from contatto.signals.rules.hashing import digests, normal_email, plain_phone
from contatto.signals.rules.reasons import (
    DATASET_GONE,
    EVENT_REFUSED,
    NO_CLICK_ID,
    NO_VALUE,
    NO_WHATSAPP_ACCOUNT,
    NOBODY_TO_MATCH,
    end_of,
)

_IDS: Final[Mapping[Platform, tuple[str, str]]] = {
    Platform.WHATSAPP: ("whatsapp_business_account_id", "ctwa_clid"),
    Platform.MESSENGER: ("page_id", "page_scoped_user_id"),
    Platform.INSTAGRAM: ("instagram_business_account_id", "ig_sid"),
}
"""By channel: what names the business, and what names the person or the tap."""
_INVALID: Final = 100
_NO_SUCH_OBJECT: Final = frozenset({33, 803})


class _Error(msgspec.Struct):
    code: int = 0
    error_subcode: int = 0


class _Answer(msgspec.Struct):
    error: _Error | None = None
    events_received: int | None = None


_answers: Final = msgspec.json.Decoder(_Answer)


class MetaSignals:
    """The connector; it keeps no state."""

    platform = AdPlatform.META
    takes_any_name = False

    @property
    def names(self) -> dict[Step, str]:
        return {
            Step.CAPTURED: "LeadSubmitted",
            Step.QUALIFIED: "QualifiedLead",
            Step.CONVERTED: "Purchase",
        }

    def lacks(self, event: SignalEvent) -> str:
        whom = event.whom
        if whom.channel not in _IDS:
            return NOBODY_TO_MATCH
        if whom.channel is Platform.WHATSAPP and not whom.click_id:
            return NO_CLICK_ID
        if not whom.business_id:
            return NO_WHATSAPP_ACCOUNT if whom.channel is Platform.WHATSAPP else NOBODY_TO_MATCH
        if whom.channel is not Platform.WHATSAPP and not whom.scoped_id:
            return NOBODY_TO_MATCH
        return NO_VALUE if event.name == "Purchase" and event.value_micros is None else ""

    def ask(self, feed: Feed, event: SignalEvent) -> HttpRequest:
        told: dict[str, Any] = {
            "event_name": event.name,
            "event_time": int(event.occurred_at.timestamp()),
            "event_id": event.event_id,
            "action_source": "business_messaging",
            "messaging_channel": event.whom.channel.value if event.whom.channel else "",
            "user_data": _user(event.whom),
        }
        if event.value_micros is not None:
            value = float(to_units(event.value_micros))
            told["custom_data"] = {"value": value, "currency": event.currency}
        body: dict[str, Any] = {"data": [told], "partner_agent": "contatto"}
        if feed.test_code:
            body["test_event_code"] = feed.test_code
        headers = {"Authorization": f"Bearer {feed.access_token}", "Content-Type": "application/json"}
        url = f"{feed.base_url}/{VERSION}/{quote(feed.dataset_id, safe='')}/events"
        return HttpRequest("POST", url, headers, msgspec.json.encode(body))

    def read(self, answer: HttpAnswer) -> SignalOutcome:
        try:
            said = _answers.decode(answer.body)
        except JSON_ERRORS:
            return end_of(meta_failure(answer, 0) or NotNow("not_json", retry_after_s(answer)))
        error = said.error or _Error()
        failure = meta_failure(answer, error.code)
        if failure is None:
            # without a count nobody knows: the same id again counts once
            if said.events_received is None:
                return NotNow("not_json", retry_after_s(answer))
            return Done() if said.events_received else Failed(EVENT_REFUSED)
        if isinstance(failure, Failed) and error.code == _INVALID:
            gone = error.error_subcode in _NO_SUCH_OBJECT
            return ShutOut(DATASET_GONE) if gone else Failed(EVENT_REFUSED)
        return end_of(failure)


def _user(whom: Whom) -> dict[str, Any]:
    hashed = {
        "em": digests(normal_email(text) for text in whom.emails),
        "ph": digests(plain_phone(text) for text in whom.phones),
        "external_id": digests([whom.external_id]),
    }
    told: dict[str, Any] = {name: values for name, values in hashed.items() if values}
    names = _IDS.get(whom.channel) if whom.channel else None
    if names is not None:
        person = whom.click_id if whom.channel is Platform.WHATSAPP else whom.scoped_id
        told |= {names[0]: whom.business_id, names[1]: person}
    return told
