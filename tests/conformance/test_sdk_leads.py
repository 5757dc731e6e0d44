"""Leads by paths for which the official SDK has no method: files, pushes, events back, messages."""

import csv
import hashlib
import hmac
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from business_api_client.tiktok_business.tiktok_exceptions import TiktokSDKError

from contatto.channels.actions import set_access_token
from contatto.forms.model import FormVersion
from contatto.kit.values import micros
from tests.channels.vendor import Vendor, running_vendor
from tests.conformance.conftest import running_server_house
from tests.conformance.sdk import Sdk, code_of
from tests.forms.edges import offer, send
from tests.forms.papers import kitchen
from tests.journeys.running import API, APP_ID, APP_SECRET, OPEN_ID, House, message, until
from tests.subscriptions.receiver import Receiver, running_receiver

DM = {"lead_source": "DIRECT_MESSAGE"}
APP = {"app_id": APP_ID, "secret": APP_SECRET}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def platform() -> Iterator[Vendor]:
    with running_vendor() as running:
        yield running


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, platform: Vendor) -> Iterator[Sdk]:
    """The SDK at a house that may call our receiver, and whose platform is a vendor of ours."""
    settings = {"allowed_hosts": (receiver.host, platform.host), "platform_urls": {"tiktok": platform.url}}
    folder = tmp_path_factory.mktemp("house")
    with running_server_house(folder, **settings) as house, Sdk.opened(house) as opened:
        house.context.db.write_now(
            lambda tx: set_access_token(tx, house.business_id, house.tiktok_id, "tiktok")
        )
        yield opened


@pytest.fixture(scope="module")
def version(sdk: Sdk) -> FormVersion:
    made = offer(sdk.house, kitchen())
    answers = {"q1": "b", "q4": "Mei Lin", "q5": "mei@example.com"}
    assert send(sdk.house, made, answers).status_code == 200
    return made


@pytest.fixture(scope="module")
def ad_id(sdk: Sdk) -> str:
    """An ad of goal Lead; somebody came from it and shared a number in the chat."""
    campaign = sdk.make_campaign()
    group = sdk.make_ad_group(campaign, "LEAD_GENERATION", identity_id=sdk.house.tiktok_id)
    (made,) = sdk.make_ads(group, sdk.creative_values("Ad of leads"))
    now_ms = micros(sdk.house.context.clock.now()) // 1_000
    came = {"referral": {"ad": {"ad_id": made, "timestamp": now_ms - 5_000}, "source": "ad"}}
    sdk.house.webhook("im_referral_msg", message("hi", "u1", now_ms - 5_000) | came)
    say(sdk.house, "u1", "call +65 8123 4567")
    assert until(lambda: sdk.is_there("/lead/get/", **DM))
    return made


def say(house: House, user: str, text: str) -> None:
    now_ms = micros(house.context.clock.now()) // 1_000
    assert house.webhook("im_receive_msg", message(text, user, now_ms)).status_code == 200


def poll(sdk: Sdk, task_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = sdk.post("/page/lead/task/", task_id=task_id)
        return found if found["status"] == "SUCCEED" else None

    found = until(look)
    assert found is not None
    return found


def download(sdk: Sdk, task_id: str) -> urllib3.BaseHTTPResponse:
    """As scripts do, beside the SDK: its answer is no JSON."""
    query = f"advertiser_id={sdk.advertiser_id}&task_id={task_id}"
    url = f"{sdk.host}{API}/page/lead/task/download/?{query}"
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, headers={"Access-Token": sdk.house.token})


@pytest.mark.parametrize("by", ["page_id", "ad_id"])
def test_leads_are_ordered_polled_and_downloaded_as_csv(
    sdk: Sdk, version: FormVersion, ad_id: str, by: str
) -> None:
    wanted: dict[str, Any] = {"page_id": version.number} if by == "page_id" else {"ad_id": ad_id}
    task = sdk.post("/page/lead/task/", **wanted)
    assert task["status"] in ("CREATED", "SUCCEED")
    done = poll(sdk, task["task_id"])
    assert (done["file_type"], done["file_name"].endswith(".csv")) == ("csv", True)
    answer = download(sdk, task["task_id"])
    assert answer.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.data.decode()))
    if by == "page_id":
        assert (row["Label of q5"], row["form_id"]) == ("mei@example.com", str(version.number))
    else:
        assert (row["phone"], row["lead_source"], row["ad_id"]) == ("+6581234567", "DIRECT_MESSAGE", ad_id)


def test_a_lead_is_read_by_its_source(sdk: Sdk, version: FormVersion, ad_id: str) -> None:
    chat = sdk.get("/lead/get/", **DM)
    assert (chat["lead_data"]["phone"], chat["meta_data"]["ad_id"]) == ("+6581234567", ad_id)
    form = sdk.get("/lead/get/", lead_source="INSTANT_FORM", page_id=version.number)
    assert form["lead_data"]["Label of q5"] == "mei@example.com"
    pages = sdk.get("/page/get/", status="PUBLISHED", business_type="LEAD_GEN")["list"]
    assert [page["page_id"] for page in pages] == [str(version.number)]


def test_a_lead_is_pushed_and_its_signature_verified(sdk: Sdk, receiver: Receiver, ad_id: str) -> None:
    detail = {"access_token": sdk.house.token, "advertiser_id": sdk.advertiser_id, **DM}
    made = sdk.post("/subscription/subscribe/", **APP, subscribe_entity="LEAD",
                    callback_url=f"{receiver.url}/leads", subscription_detail=detail)  # fmt: skip
    listed = sdk.get("/subscription/get/", **APP, subscribe_entity="LEAD", page=1, page_size=10)
    assert [each["subscription_id"] for each in listed["subscriptions"]] == [made["subscription_id"]]
    say(sdk.house, "u2", "my mail is lin@example.com")
    assert until(lambda: receiver.entries("/leads"))
    push = next(each for each in receiver.received if each.path == "/leads")
    wanted = hmac.new(APP_SECRET.encode(), push.body, hashlib.sha256).hexdigest()
    assert push.headers["x-open-signature"] == wanted
    entry = json.loads(push.body)["entry"][0]
    assert {"field": "email", "value": "lin@example.com"} in entry["changes"]
    sdk.post("/subscription/unsubscribe/", **APP, subscription_id=made["subscription_id"])
    assert sdk.get("/subscription/get/", **APP)["subscriptions"] == []


def test_the_crm_tells_what_became_of_a_lead(sdk: Sdk, ad_id: str) -> None:
    event_set = sdk.post("/crm/create/", name="Our CRM")["event_set_id"]
    assert sdk.get("/crm/list/")["crm_event_sets"][0]["event_set_id"] == event_set
    lead_id = sdk.get("/lead/get/", **DM)["meta_data"]["lead_id"]
    digest = hashlib.sha256(b"lin@example.com").hexdigest()
    event = {
        "event": "qualified_lead", "event_time": int(time.time()), "event_id": "1",
        "user": {"email": [digest]}, "lead": {"lead_id": lead_id, "lead_event_source": "Our CRM"},
    }  # fmt: skip
    assert sdk.post("/event/track/", event_source="crm", event_source_id=event_set, data=[event]) == {}
    assert sdk.get("/lead/get/", lead_id=lead_id, **DM)["meta_data"]["status"] == "QUALIFIED"
    clear = event | {"user": {"email": ["lin@example.com"]}}
    assert sdk.refused("/event/track/", event_source="crm", event_source_id=event_set, data=[clear]) == 40062
    many = {"event_source": "crm", "event_source_id": event_set, "data": [event] * 1_001}
    assert sdk.refused("/event/track/", **many) == 40061
    unknown = event | {"lead": {"lead_id": "1"}}
    partly = {"event_source": "crm", "event_source_id": event_set, "data": [event, unknown]}
    assert sdk.refused("/event/track/", **partly) == 20001


def test_conversations_are_listed_read_and_answered(sdk: Sdk, platform: Vendor, ad_id: str) -> None:
    of = {"business_id": OPEN_ID}
    waiting = sdk.get("/business/message/conversation/list/", **of, conversation_type="STRANGER")
    found = next(each for each in waiting["conversations"] if each["conversation_id"] == "conversation of u1")
    assert [ad["ad_id"] for ad in found["referral"]["ad"]] == [ad_id]
    text = {"message_type": "TEXT", "text": {"body": "We call you."}}
    to = {"recipient_type": "CONVERSATION", "recipient": found["conversation_id"]}
    sent = sdk.post("/business/message/send/", **of, **to, **text)["message"]["message_id"]
    assert until(lambda: [each.body["text"]["body"] for each in platform.taken] == ["We call you."])
    listed = sdk.get("/business/message/content/list/", **of, conversation_id=found["conversation_id"])
    assert listed["messages"][0]["message_id"] == sent
    codes = [sdk.code_of_post("/business/message/send/", **of, **to, **text) for _ in range(10)]
    assert codes == [0] * 9 + [40064]


REFUSALS: list[tuple[str, dict[str, Any], int]] = [
    ("/page/lead/task/", {}, 40002),
    ("/page/lead/task/", {"page_id": 1}, 40007),
    ("/page/lead/task/", {"page_id": 1, "advertiser_id": "1"}, 40300),
    ("/page/lead/mock/create/", {"lead_source": "FAX"}, 40002),
    ("/page/lead/mock/delete/", {"lead_id": "1"}, 40007),
    ("/subscription/subscribe/", {"app_id": APP_ID}, 40002),
    ("/subscription/unsubscribe/", APP | {"secret": "wrong", "subscription_id": "1"}, 40001),
    ("/event/track/", {"event_source": "crm", "event_source_id": "1"}, 40002),
    ("/crm/create/", {"name": ""}, 40002),
    ("/business/message/send/", {"business_id": OPEN_ID}, 40002),
    ("/nowhere/", {}, 40400),
]


@pytest.mark.parametrize(("path", "body", "code"), REFUSALS)
def test_a_refusal_reaches_the_script_with_its_code(
    sdk: Sdk, path: str, body: dict[str, Any], code: int
) -> None:
    assert sdk.refused(path, **body) == code


def test_a_file_that_is_not_there_is_refused_as_json(sdk: Sdk) -> None:
    answer = download(sdk, "1")
    assert (answer.status, json.loads(answer.data)["code"]) == (200, 40007)


def test_a_token_that_is_missing_or_wrong_is_refused(sdk: Sdk) -> None:
    for token, code in (("", 40104), ("contatto_forged", 40105)):
        with pytest.raises(TiktokSDKError) as caught:
            sdk.get("/lead/get/", token=token, **DM)
        assert code_of(caught.value) == code
