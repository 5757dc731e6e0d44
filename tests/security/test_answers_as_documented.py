"""What each operation of the API really answers is what its document says, field by field.

The requests come from the table of routes: an operation that is new is asked too, and has to be answered.
"""

import itertools
import json
from datetime import timedelta
from functools import cache
from typing import Any, Final

import httpx2
import pytest
import schemathesis
from fastapi import FastAPI

from contatto.accounts import actions as accounts
from contatto.accounts.model import BusinessId, Credential, Permission
from contatto.app import API_PREFIX, OPEN_PATHS, ROUTES
from contatto.kit.openapi import answer_types
from tests.background import make_files
from tests.journeys.running import API
from tests.journeys.running import ad_group as new_ad_group
from tests.security.attempts import Attempt
from tests.security.routes import Way, every_way
from tests.security.samples import collect_attempts
from tests.security.world import World
from tools.reference_api import api_document

FILES: Final = {f"{API}/report/task/download/", f"{API}/page/lead/task/download/"}
"""What answers with a file; all else says which fields its answer has."""
WALKED: Final = {
    "/business/message/auto_message/delete/": 40007,
    "/business/message/auto_message/sort/": 40007,
    "/business/message/auto_message/update/": 40007,
    "/business/message/media/download/": 40007,
    "/contatto/hook/unsubscribe/": 40007,
    "/dmp/custom_audience/delete/": 40002,
    "/page/lead/mock/delete/": 40007,
    "/page/lead/task/": 40002,
    "/page/lead/task/download/": 40007,
    "/report/task/cancel/": 40200,
    "/smart_plus/adgroup/create/": 40002,
    "/oauth2/access_token/": 40110,
}
"""What needs more than one request: the code that refuses its sample; `Walk` asks these as they want it."""
_numbers = itertools.count(1)
NEED_NOTHING: Final = {
    "/advertiser/info/", "/contatto/audit/list/", "/contatto/crm/ledger/get/", "/contatto/hook/sample/",
    "/contatto/signals/ledger/get/",
    "/oauth2/advertiser/get/",
}  # fmt: skip
"""What is answered without a single field."""
OPERATIONS: Final = [way for way in every_way() if way.path.startswith(API_PREFIX)]


@cache
def documented() -> dict[str, Any]:
    """The operations of the document by method and path. Fields that it does not name are not allowed."""
    document = json.loads(json.dumps(api_document()))
    _close(document["components"]["schemas"])
    loaded = schemathesis.openapi.from_dict(document)
    found = [each.ok() for each in loaded.get_all_operations()]  # type: ignore[union-attr]
    return {operation.label: operation for operation in found}


def _close(schema: Any) -> None:
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _close(each)
    if isinstance(schema, dict) and schema.get("type") == "object" and "properties" in schema:
        schema.setdefault("additionalProperties", False)


def check(way: str, answer: httpx2.Response) -> int:
    """Check an answer against its schema, and give its code; that of a file is 0."""
    documented()[way].validate_response(answer)
    is_json = answer.headers["content-type"].startswith("application/json")
    return int(answer.json()["code"]) if is_json else 0


def test_every_operation_says_what_it_answers() -> None:
    app = FastAPI()
    app.router.routes.extend(ROUTES)
    types = {(path, method): kind for path, method, kind in answer_types(app, API_PREFIX)}
    assert set(types) == {(way.path, way.method.lower()) for way in OPERATIONS}
    assert {path for (path, _), kind in types.items() if kind is None} == FILES


def test_a_field_that_is_not_documented_is_seen() -> None:
    body = {"code": 0, "message": "OK", "request_id": "r", "data": {"confirmed": True, "more": 1}}
    request = httpx2.Request("GET", f"http://127.0.0.1{API}/term/check/")
    answer = httpx2.Response(200, json=body, request=request)
    answer.elapsed = timedelta()
    with pytest.raises(Exception, match="more"):
        check(f"GET {API}/term/check/", answer)


@pytest.fixture(scope="module")
def attempts(world: World) -> dict[str, Attempt]:
    found = {each.way.name: each for each in collect_attempts(world, world.victim)}
    open_way = next(way for way in OPERATIONS if way.path.endswith("/oauth2/access_token/"))
    secrets = {"app_id": world.victim.app_id, "secret": world.victim.app_secret, "auth_code": "x"}
    return found | {open_way.name: Attempt(open_way, open_way.path, body=secrets)}


@pytest.mark.parametrize("way", OPERATIONS, ids=str)
def test_answers_have_the_fields_that_are_documented(
    world: World, attempts: dict[str, Attempt], way: Way
) -> None:
    answer = attempts[way.name].send(world, token=world.victim.token)
    assert check(way.name, answer) == WALKED.get(way.path.removeprefix(API), 0), answer.text


@pytest.mark.parametrize("way", OPERATIONS, ids=str)
def test_refusals_are_the_documented_ones(world: World, attempts: dict[str, Attempt], way: Way) -> None:
    unknown = check(way.name, attempts[way.name].send(world, token="unknown"))
    assert unknown or (way.credential is Credential.APP and way.path in OPEN_PATHS)
    empty = Attempt(way, way.path, query=(("advertiser_id", "x"),), body={} if way.changes else None)
    refused = check(way.name, empty.send(world, token=world.victim.token)) != 0
    assert refused != (way.path.removeprefix(API) in NEED_NOTHING)


@pytest.mark.parametrize("short", WALKED)
def test_what_needs_several_requests_is_answered_as_documented(world: World, short: str) -> None:
    walk = Walk(world)
    code, data = getattr(walk, short.strip("/").replace("/", "_"))()
    assert code == 0, data


class Walk:
    """The requests of a tenant on the way to one that its samples do not reach."""

    def __init__(self, world: World) -> None:
        self.world, self.of = world, world.victim

    def call(self, method: str, path: str, **values: Any) -> tuple[int, Any]:
        """The code and the data of an answer that is checked."""
        sent = {"advertiser_id": self.of.advertiser_id} | values
        if method == "GET":
            query = {name: v if isinstance(v, str) else json.dumps(v) for name, v in sent.items()}
            answer = self.world.ask(method, API + path, token=self.of.token, params=query)
        else:
            answer = self.world.ask(method, API + path, token=self.of.token, json=sent)
        code = check(f"{method} {API}{path}", answer)
        is_json = answer.headers["content-type"].startswith("application/json")
        return code, answer.json()["data"] or answer.json()["message"] if is_json else answer.text

    def post(self, path: str, **values: Any) -> tuple[int, Any]:
        return self.call("POST", path, **values)

    def auto_message(self) -> dict[str, Any]:
        """What names a prompt of the chat page that was just made."""
        kind = {"business_id": self.of.webchat_id, "auto_message_type": "CHAT_PROMPT"}
        prompt = {"title": f"Open {next(_numbers)}?", "content": "Are you open today?"}
        code, made = self.post("/business/message/auto_message/create/", chat_prompt=prompt, **kind)
        assert code == 0, made
        return kind | {"auto_message_id": made["auto_message"]["auto_message_id"]}

    def business_message_auto_message_delete(self) -> tuple[int, Any]:
        named = self.auto_message()
        self.call("GET", "/business/message/auto_message/get/", **named)
        return self.post("/business/message/auto_message/delete/", **named)

    def business_message_auto_message_sort(self) -> tuple[int, Any]:
        return self.post("/business/message/auto_message/sort/", **self.auto_message())

    def business_message_auto_message_update(self) -> tuple[int, Any]:
        named = self.auto_message() | {"chat_prompt": {"title": "Open now?", "content": "Are you open?"}}
        return self.post("/business/message/auto_message/update/", **named)

    def business_message_media_download(self) -> tuple[int, Any]:
        for business in (self.of.webchat_id, self.of.open_id):
            for kind in ("STRANGER", "SINGLE"):
                asked = {"business_id": business, "conversation_type": kind}
                _, chats = self.call("GET", "/business/message/conversation/list/", **asked)
                for chat in chats["conversations"]:
                    named = {"business_id": business, "conversation_id": chat["conversation_id"]}
                    _, found = self.call("GET", "/business/message/content/list/", **named)
                    for message in found["messages"]:
                        if "image" in message:
                            named |= {"message_id": message["message_id"], **message["image"]}
                            return self.post("/business/message/media/download/", **named)
        return -1, "no conversation has a picture"

    def contatto_hook_unsubscribe(self) -> tuple[int, Any]:
        hook = {"event": "lead.changed", "callback_url": "https://push.example.com/hook"}
        _, made = self.post("/contatto/hook/subscribe/", **hook)
        return self.post("/contatto/hook/unsubscribe/", subscription_id=made["subscription_id"])

    def dmp_custom_audience_delete(self) -> tuple[int, Any]:
        file = {"file": ("x.csv", b"a" * 64, "text/csv")}
        form = {"advertiser_id": self.of.advertiser_id, "calculate_type": "EMAIL_SHA256"}
        path = f"{API}/dmp/custom_audience/file/upload/"
        sent = self.world.ask("POST", path, token=self.of.token, data=form, files=file)
        assert check(f"POST {path}", sent) == 0
        new = {"calculate_type": "EMAIL_SHA256", "file_paths": [sent.json()["data"]["file_path"]]}
        _, made = self.post("/dmp/custom_audience/create/", custom_audience_name="To delete", **new)
        return self.post("/dmp/custom_audience/delete/", custom_audience_ids=[made["custom_audience_id"]])

    def page_lead_mock_delete(self) -> tuple[int, Any]:
        _, made = self.post("/page/lead/mock/create/", lead_source="DIRECT_MESSAGE")
        return self.post("/page/lead/mock/delete/", lead_id=made["meta_data"]["lead_id"])

    def page_lead_task(self) -> tuple[int, Any]:
        return self.post("/page/lead/task/", page_id=self.of.ids["page_id"][0])

    def page_lead_task_download(self) -> tuple[int, Any]:
        return self.call("GET", "/page/lead/task/download/", task_id=self.made_lead_file())

    def made_lead_file(self) -> str:
        """The number of a file of leads that the worker has made."""
        _, task = self.page_lead_task()
        make_files(self.world.context.db)
        _, asked = self.post("/page/lead/task/", task_id=task["task_id"])
        assert asked["status"] == "SUCCEED", asked
        return str(task["task_id"])

    def report_task_cancel(self) -> tuple[int, Any]:
        report = {"report_type": "BASIC", "data_level": "AUCTION_ADGROUP", "dimensions": ["adgroup_id"]}
        wanted = {"query_lifetime": True, "metrics": ["spend"]}
        _, task = self.post("/report/task/create/", **report, **wanted)
        return self.post("/report/task/cancel/", task_id=task["task_id"])

    def smart_plus_adgroup_create(self) -> tuple[int, Any]:
        group = new_ad_group(self.of.ids["campaign_id"][0], "LEAD_GENERATION", self.of.webchat_id)
        group |= {"page_id": self.of.ids["page_id"][0], "request_id": "1"}
        first, again = (self.post("/smart_plus/adgroup/create/", **group) for _ in range(2))
        assert first == again
        return first

    def oauth2_access_token(self) -> tuple[int, Any]:
        business = BusinessId(self.of.business_id)
        code = self.world.context.db.write_now(
            lambda tx: accounts.issue_auth_code(tx, business, "A program", [Permission.READ_ADS])
        )
        app = {"app_id": self.of.app_id, "secret": self.of.app_secret}
        return self.post("/oauth2/access_token/", auth_code=code, **app)
