"""Connectors of signals: TikTok Events API and Meta Conversions API."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from contatto.ad_platforms.connectors.meta import VERSION, meta_failure
from contatto.ad_platforms.connectors.tiktok import tiktok_failure
from contatto.ad_platforms.model import AdPlatform
from contatto.channels.model import Platform
from contatto.integrations.model import Denied
from contatto.kit.outbound.model import Done, Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import JSON_ERRORS, to_units
from contatto.signals import rules
from contatto.signals.model import (
    MatchKeys,
    SignalConnector,
    SignalEvent,
    SignalOutcome,
    SignalStep,
    SignalTarget,
)

LEAD_SOURCE: Final = "Contatto"
"""The ``lead_event_source`` of TikTok's events."""
_PARTLY_REFUSED: Final = 20001
_DATASET_FIELD: Final = "event_source_id"


class _TikTokData(msgspec.Struct):
    failed_events: list[Any] = []


class _TikTokResponse(msgspec.Struct):
    code: int
    message: str = ""
    data: _TikTokData | None = None


_tiktok_responses: Final = msgspec.json.Decoder(_TikTokResponse)


class TikTokSignals:
    """TikTok Events API 2.0 with ``event_source`` crm; stateless.

    Source: TikTok API for Business v1.3, ``/event/track/``. ``event_source_id`` is the CRM event set. Each
    event has ``event``, a free name that Events Manager maps to a standard one, ``event_time`` in seconds and
    ``event_id``. ``user`` has the click id in clear, and SHA-256 of e-mail, phone and ``external_id``.
    ``properties`` has ``value`` and ``currency``. Responses have status 200 and a ``code``; 20001 lists the
    refused events.
    """

    platform: ClassVar[AdPlatform] = AdPlatform.TIKTOK
    takes_any_name: ClassVar[bool] = True

    names: ClassVar[Mapping[SignalStep, str]] = {
        SignalStep.CAPTURED: "SubmitForm",
        SignalStep.QUALIFIED: "qualified_lead",
        SignalStep.CONVERTED: "converted_lead",
        SignalStep.DISQUALIFIED: "disqualified_lead",
        SignalStep.SPAM: "spam",
    }

    def find_gap(self, event: SignalEvent) -> str:
        user = self._user(event.match_keys)
        return "" if any(user.get(name) for name in ("email", "phone", "ttclid")) else rules.NOBODY_TO_MATCH

    def ask(self, target: SignalTarget, event: SignalEvent) -> HttpRequest:
        datum: dict[str, Any] = {
            "event": event.name,
            "event_time": int(event.occurred_at.timestamp()),
            "event_id": event.event_id,
            "user": self._user(event.match_keys),
            "lead": {"lead_id": str(event.lead_number), "lead_event_source": LEAD_SOURCE},
        }
        if event.value_micros is not None:
            value = float(to_units(event.value_micros))
            datum["properties"] = {"value": value, "currency": event.currency}
        body: dict[str, Any] = {"event_source": "crm", "event_source_id": target.dataset_id, "data": [datum]}
        if target.test_code:
            body["test_event_code"] = target.test_code
        headers = {"Access-Token": target.access_token, "Content-Type": "application/json"}
        url = f"{target.base_url}/open_api/v1.3/event/track/"
        return HttpRequest("POST", url, headers, msgspec.json.encode(body))

    def read(self, answer: HttpAnswer) -> SignalOutcome:
        try:
            response = _tiktok_responses.decode(answer.body)
        except JSON_ERRORS:
            return rules.block_signals(tiktok_failure(answer, 0) or NotNow("not_json", retry_after_s(answer)))
        if answer.status == 200 and response.code == _PARTLY_REFUSED:
            return Failed(rules.EVENT_REFUSED)
        failure = tiktok_failure(answer, response.code)
        if failure is None and response.data is not None and response.data.failed_events:
            failure = Failed(rules.EVENT_REFUSED)
        if isinstance(failure, Failed) and _DATASET_FIELD in response.message:
            return Denied(rules.DATASET_GONE)
        return rules.block_signals(failure) if failure else Done()

    @staticmethod
    def _user(keys: MatchKeys) -> dict[str, Any]:
        hashes = {
            "email": rules.digests(rules.normal_email(email) for email in keys.emails),
            "phone": rules.digests(rules.plus_phone(phone) for phone in keys.phones),
            "external_id": rules.digests([keys.external_id]),
        }
        user: dict[str, Any] = {name: values for name, values in hashes.items() if values}
        return user | ({"ttclid": keys.click_id} if keys.click_id else {})


_CHANNEL_IDS: Final[Mapping[Platform, tuple[str, str]]] = {
    Platform.WHATSAPP: ("whatsapp_business_account_id", "ctwa_clid"),
    Platform.MESSENGER: ("page_id", "page_scoped_user_id"),
    Platform.INSTAGRAM: ("instagram_business_account_id", "ig_sid"),
}
"""The fields of the business and of the person or tap, by channel."""
_INVALID: Final = 100
_UNKNOWN_OBJECT: Final = frozenset({33, 803})


class _MetaError(msgspec.Struct):
    code: int = 0
    error_subcode: int = 0


class _MetaResponse(msgspec.Struct):
    error: _MetaError | None = None
    events_received: int | None = None


_meta_responses: Final = msgspec.json.Decoder(_MetaResponse)


class MetaSignals:
    """Meta Conversions API for business messaging; stateless.

    Source: Meta, Conversions API for Business Messaging: ``POST /<data set>/events`` with ``action_source``
    business_messaging and ``messaging_channel``. WhatsApp events have ``whatsapp_business_account_id`` and
    ``ctwa_clid``, Messenger ``page_id`` and ``page_scoped_user_id``, Instagram
    ``instagram_business_account_id`` and ``ig_sid``, all in clear. E-mail, phone and ``external_id`` are
    SHA-256. Purchase needs ``value`` and ``currency``. Events are at most seven days old.
    """

    platform: ClassVar[AdPlatform] = AdPlatform.META
    takes_any_name: ClassVar[bool] = False

    names: ClassVar[Mapping[SignalStep, str]] = {
        SignalStep.CAPTURED: "LeadSubmitted",
        SignalStep.QUALIFIED: "QualifiedLead",
        SignalStep.CONVERTED: "Purchase",
    }

    def find_gap(self, event: SignalEvent) -> str:
        keys = event.match_keys
        if keys.channel not in _CHANNEL_IDS:
            return rules.NOBODY_TO_MATCH
        if keys.channel is Platform.WHATSAPP and not keys.click_id:
            return rules.NO_CLICK_ID
        if not keys.business_id:
            return rules.NO_WHATSAPP_ACCOUNT if keys.channel is Platform.WHATSAPP else rules.NOBODY_TO_MATCH
        if keys.channel is not Platform.WHATSAPP and not keys.scoped_id:
            return rules.NOBODY_TO_MATCH
        return rules.NO_VALUE if event.name == "Purchase" and event.value_micros is None else ""

    def ask(self, target: SignalTarget, event: SignalEvent) -> HttpRequest:
        keys = event.match_keys
        hashes = {
            "em": rules.digests(rules.normal_email(email) for email in keys.emails),
            "ph": rules.digests(rules.plus_phone(phone).removeprefix("+") for phone in keys.phones),
            "external_id": rules.digests([keys.external_id]),
        }
        user: dict[str, Any] = {name: values for name, values in hashes.items() if values}
        if keys.channel is not None and keys.channel in _CHANNEL_IDS:
            business_field, person_field = _CHANNEL_IDS[keys.channel]
            person = keys.click_id if keys.channel is Platform.WHATSAPP else keys.scoped_id
            user |= {business_field: keys.business_id, person_field: person}
        datum: dict[str, Any] = {
            "event_name": event.name,
            "event_time": int(event.occurred_at.timestamp()),
            "event_id": event.event_id,
            "action_source": "business_messaging",
            "messaging_channel": keys.channel.value if keys.channel else "",
            "user_data": user,
        }
        if event.value_micros is not None:
            value = float(to_units(event.value_micros))
            datum["custom_data"] = {"value": value, "currency": event.currency}
        body: dict[str, Any] = {"data": [datum], "partner_agent": "contatto"}
        if target.test_code:
            body["test_event_code"] = target.test_code
        headers = {"Authorization": f"Bearer {target.access_token}", "Content-Type": "application/json"}
        url = f"{target.base_url}/{VERSION}/{quote(target.dataset_id, safe='')}/events"
        return HttpRequest("POST", url, headers, msgspec.json.encode(body))

    def read(self, answer: HttpAnswer) -> SignalOutcome:
        try:
            response = _meta_responses.decode(answer.body)
        except JSON_ERRORS:
            return rules.block_signals(meta_failure(answer, 0) or NotNow("not_json", retry_after_s(answer)))
        error = response.error or _MetaError()
        failure = meta_failure(answer, error.code)
        if failure is None:
            # Without a count the outcome is unknown; the same id counts once if it is sent again.
            if response.events_received is None:
                return NotNow("not_json", retry_after_s(answer))
            return Done() if response.events_received else Failed(rules.EVENT_REFUSED)
        if isinstance(failure, Failed) and error.code == _INVALID:
            is_unknown = error.error_subcode in _UNKNOWN_OBJECT
            return Denied(rules.DATASET_GONE) if is_unknown else Failed(rules.EVENT_REFUSED)
        return rules.block_signals(failure)


CONNECTORS: Final[Mapping[AdPlatform, SignalConnector]] = {
    AdPlatform.TIKTOK: TikTokSignals(),
    AdPlatform.META: MetaSignals(),
}
