"""The OpenAPI document: what it says is what the server does; its examples run; its page shows all of it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from contatto.accounts import actions as accounts
from contatto.accounts.model import Permission
from contatto.app import OPEN_PATHS
from contatto.kit.db.tx import Tx
from contatto.kit.openapi import list_operations
from tests.documented import OPERATIONS
from tests.journeys.running import API, House, running_house
from tests.unchanged import nothing_changes
from tools.reference_api import api_document

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def send(house: House, token: str, case: Any) -> httpx2.Response:
    """Send a generated request with a token."""
    sent = case.as_transport_kwargs(base_url=str(house.client.base_url))
    kwargs = {name: sent[name] for name in ("params", "json", "data", "files") if sent.get(name)}
    if isinstance(kwargs.get("data"), str | bytes):
        kwargs["content"] = kwargs.pop("data")
    if "files" in kwargs:  # a part of a form is text, also where a number was drawn
        kwargs["files"] = [(name, (file, str(part).encode())) for name, (file, part) in kwargs["files"]]
    headers = {"Access-Token": token}
    return house.client.request(case.method, case.formatted_path, headers=headers, **kwargs)


@pytest.mark.parametrize("label", OPERATIONS)
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_whatever_is_sent_the_answer_is_a_documented_one(
    label: str, house: House, data: st.DataObject
) -> None:
    case = data.draw(OPERATIONS[label].as_strategy())
    answer = send(house, house.token, case)
    answer.request.read()
    case.validate_response(answer, checks=CHECKS)


WITHOUT_SCOPE = {"POST /open_api/v1.3/oauth2/access_token/", "GET /open_api/v1.3/oauth2/advertiser/get/"}
"""The first needs no token; the second shows any token what it may use."""


@pytest.fixture(scope="module")
def narrow_tokens(house: House) -> dict[bool, str]:
    """Tokens that may read reports alone, for the doors of the inbox, or the inbox alone, for all others."""

    def work(tx: Tx) -> dict[bool, str]:
        scopes = {True: Permission.READ_REPORTS, False: Permission.READ_INBOX}
        return {
            of_inbox: accounts.issue_token(tx, house.business_id, "narrow", [scope.value])[1]  # type: ignore[arg-type]
            for of_inbox, scope in scopes.items()
        }

    made = house.context.db.write_now(work)
    for token in made.values():
        send(house, token, OPERATIONS["GET /open_api/v1.3/oauth2/advertiser/get/"].Case())  # its use is noted
    return made


@pytest.mark.parametrize("label", sorted(set(OPERATIONS) - WITHOUT_SCOPE))
def test_a_token_without_the_scope_gets_nowhere_and_changes_nothing(
    label: str, house: House, narrow_tokens: dict[bool, str]
) -> None:
    codes: list[int] = []
    token = narrow_tokens["/business/" in label]

    @settings(max_examples=5, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=OPERATIONS[label].as_strategy())
    def ask(case: Any) -> None:
        codes.append(send(house, token, case).json()["code"])

    with nothing_changes(house.context.db):
        ask()
    assert set(codes) <= {40130, 40002}  # a body that is wrong beyond its schema is told so first
    assert 40130 in codes


def test_the_server_hands_out_the_document_with_every_api_route(house: House) -> None:
    document = house.client.get("/openapi.json").json()
    assert sorted(document["paths"]) == sorted(api_document()["paths"])
    assert all(path.startswith(API) for path in document["paths"])
    secured = [
        path for path, item in document["paths"].items() for each in item.values() if "security" in each
    ]
    assert set(document["paths"]) - set(secured) == OPEN_PATHS


def test_the_examples_run_in_the_order_of_the_flow(house: House) -> None:
    rows = {row.path: row for row in list_operations(api_document()) if row.example}
    known = {"advertiser_id": house.advertiser_id, "auto_message_id": house.first_message()}
    for kind, answered in (("campaign", "campaign_id"), ("adgroup", "adgroup_id"), ("ad", "ad_ids")):
        body = json.loads(rows[f"{API}/{kind}/create/"].example)
        for part in (body, *body.get("creatives", ())):
            part |= {name: value for name, value in known.items() if name in part}
        data = house.data("POST", f"/{kind}/create/", **body)
        known[answered] = data[answered]
    assert len(known["ad_ids"]) == 1


def test_the_page_shows_every_operation(house: House) -> None:
    page = house.client.get("/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for row in list_operations(api_document()):
        assert f">{row.path}</code>" in page.text
