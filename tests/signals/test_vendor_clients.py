"""The platforms in memory, driven by the vendors' own client libraries; these hash as we do, too."""

import hashlib
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import business_api_client as tiktok_sdk
import pytest
import requests
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.messaging_channel import MessagingChannel
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from requests.adapters import BaseAdapter

from contatto.channels.model import Platform as Channel
from contatto.kit.outbound.model import HttpRequest
from contatto.signals.connectors import MetaSignals
from contatto.signals.model import MatchKeys, SignalEvent, SignalTarget
from contatto.signals.rules import digests, normal_email, plus_phone
from contatto.simulator.ad_platforms import TOKEN, MetaFake, TikTokFake

EMAILS = ("Ada@Example.COM", "  ada+tag@example.com ", "a.d.a@example.org")
PHONES = ("+6591234567", "+39 333 123-4567", "+1 (650) 555-1212")


class InMemory(BaseAdapter):
    """Leads what a client of Meta sends to the platform in memory."""

    def __init__(self, platform: MetaFake) -> None:
        super().__init__()
        self._platform = platform

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        raw: Any = request.body or b""
        headers: Any = request.headers
        body = raw.encode() if isinstance(raw, str) else raw
        asked = HttpRequest(request.method or "", request.url or "", dict(headers), body)
        answer = self._platform.answer(asked)
        made = requests.Response()
        made.status_code, made._content = answer.status, answer.body
        made.headers["content-type"] = "application/json"
        return made

    def close(self) -> None:
        """There is nothing to close."""


def client_of_meta(platform: MetaFake, token: str = TOKEN) -> None:
    api = FacebookAdsApi.init(access_token=token, crash_log=False)
    api._session.requests.mount("https://", InMemory(platform))


def event_of_meta(platform: MetaFake, **more: Any) -> Event:
    user = UserData(emails=[EMAILS[0]], phones=[PHONES[0]], ctwa_clid="click-1")
    return Event(
        event_name="LeadSubmitted",
        event_time=int(platform.clock_at.timestamp()),
        event_id="event-1",
        action_source=ActionSource.BUSINESS_MESSAGING,
        messaging_channel=MessagingChannel.WHATSAPP,
        user_data=user,
        **more,
    )


def test_metas_own_client_is_understood_and_an_id_counts_once() -> None:
    platform = MetaFake()
    client_of_meta(platform)
    for _ in range(2):
        asked = EventRequest(pixel_id=platform.dataset, events=[event_of_meta(platform)])
        assert asked.execute().events_received == 1
    assert platform.names == ["LeadSubmitted"]
    platform.clock_at += timedelta(hours=49)
    EventRequest(pixel_id=platform.dataset, events=[event_of_meta(platform)]).execute()
    assert len(platform.counted) == 2, "after two days the platform has forgotten the id"


def test_metas_own_client_is_told_of_a_wrong_token_a_data_set_that_is_gone_and_a_test() -> None:
    platform = MetaFake()
    client_of_meta(platform, "another")
    with pytest.raises(FacebookRequestError) as refused:
        EventRequest(pixel_id=platform.dataset, events=[event_of_meta(platform)]).execute()
    assert refused.value.api_error_code() == 190
    client_of_meta(platform)
    with pytest.raises(FacebookRequestError) as refused:
        EventRequest(pixel_id="404", events=[event_of_meta(platform)]).execute()
    assert (refused.value.api_error_code(), refused.value.api_error_subcode()) == (100, 33)
    tested = EventRequest(pixel_id=platform.dataset, events=[event_of_meta(platform)], test_event_code="T1")
    assert tested.execute().events_received == 1
    assert (len(platform.tested), platform.counted) == (1, [])


def test_our_event_is_the_one_that_metas_own_client_makes() -> None:
    platform = MetaFake()
    client_of_meta(platform)
    worth = CustomData(value=12.5, currency="EUR")
    EventRequest(
        pixel_id=platform.dataset,
        events=[event_of_meta(platform, custom_data=worth)],
        partner_agent="contatto",
    ).execute()
    whom = MatchKeys("", (EMAILS[0],), (PHONES[0],), "click-1", Channel.WHATSAPP, "901")
    event = SignalEvent("event-2", "LeadSubmitted", platform.clock_at, 1, whom, 12_500_000, "EUR")
    platform.send(
        MetaSignals().ask(SignalTarget("https://graph.facebook.com", platform.dataset, TOKEN), event)
    )
    made, ours = platform.counted
    assert ours["user_data"].pop("whatsapp_business_account_id") == "901", "their client does not know it yet"
    assert ours.pop("event_id") != made.pop("event_id")
    made["custom_data"]["currency"] = made["custom_data"]["currency"].upper()  # either case is taken
    assert {name: value for name, value in made.items() if value} == ours


@pytest.mark.parametrize("text", EMAILS)
def test_e_mails_are_hashed_as_metas_own_client_does(text: str) -> None:
    assert UserData(emails=[text]).normalize()["em"] == digests([normal_email(text)])


@pytest.mark.parametrize("text", PHONES)
def test_phones_are_hashed_as_metas_own_client_does(text: str) -> None:
    assert UserData(phones=[text]).normalize()["ph"] == digests([plus_phone(text).removeprefix("+")])


def client_of_tiktok(platform: TikTokFake) -> Any:
    """TikTok's client, with the platform in memory in place of its socket."""
    client = tiktok_sdk.ApiClient()

    def request(method: str, url: str, *, headers: Any, body: Any, **more: Any) -> Any:
        answer = platform.answer(HttpRequest(method, url, headers, json.dumps(body).encode()))
        return SimpleNamespace(status=answer.status, data=answer.body.decode(), getheaders=dict)

    client.request = request
    return client


def test_tiktoks_own_client_is_understood_and_an_id_counts_once() -> None:
    platform = TikTokFake()
    client = client_of_tiktok(platform)
    event = {
        "event": "SubmitForm",
        "event_time": int(platform.clock_at.timestamp()),
        "event_id": "event-1",
        "user": {"email": [hashlib.sha256(b"ada@example.com").hexdigest()]},
        "lead": {"lead_id": "18"},
    }
    body = {"event_source": "crm", "event_source_id": platform.dataset, "data": [event]}
    for _ in range(2):
        client.call_api(
            "/open_api/v1.3/event/track/",
            "POST",
            header_params={"Access-Token": TOKEN, "Content-Type": "application/json"},
            body=body,
            response_type="InlineResponse200",
            _return_http_data_only=True,
        )
    assert platform.names == ["SubmitForm"]
