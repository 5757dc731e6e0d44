"""The ad decision through the running app."""

from collections.abc import Iterator
from typing import Any

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.model import Permission
from contatto.kit.db.tx import Tx
from tests.ads.world import add_chain, add_world
from tests.journeys.running import House, running_house

ASKED = {"viewer_id": "viewer-1", "country": "SG"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        running.make_ad("LEAD_GENERATION")
        yield running


def decide(house: House, body: Any = ASKED, token: str | None = None) -> Any:
    headers = {"Access-Token": house.token if token is None else token}
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    return house.client.post("/delivery/decide", headers=headers, **sent)


def new_token(house: House, business_id: str, scope: Permission) -> str:
    def work(tx: Tx) -> str:
        return accounts.issue_token(tx, business_id, "narrow", [scope.value])[1]  # type: ignore[arg-type]  # a plain text

    return house.context.db.write_now(work)


def test_an_answer_has_all_that_a_publisher_shows(house: House) -> None:
    ad = decide(house).json()["ad"]
    shown = {"ad_id", "ad_name", "headline", "text", "business_name", "view_url", "click_url"}
    assert set(ad) == {*shown, "decision_id"}
    assert ad["view_url"].startswith("/t/v/")
    assert ad["click_url"].startswith("/t/c/")


def test_a_view_is_counted_and_charged_once(house: House) -> None:
    ad = decide(house, ASKED | {"viewer_id": "viewer-2"}).json()["ad"]
    metrics = ["impressions", "spend"]
    before = house.report(metrics=metrics).popitem()[1]
    for _ in range(2):
        assert house.client.get(ad["view_url"]).status_code == 200
    after = house.report(metrics=metrics).popitem()[1]
    assert int(after["impressions"]) == int(before["impressions"]) + 1
    assert float(after["spend"]) == pytest.approx(float(before["spend"]) + 0.001)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "unreadable"),
        (b"\xff\xfe", 400, "unreadable"),
        (b"[]", 422, "invalid"),
        (b'{"viewer_id": "v"}', 422, "invalid"),
        (b'{"viewer_id": "", "country": "SG"}', 422, "invalid"),
        (b'{"viewer_id": 7, "country": "SG"}', 422, "invalid"),
        (b'{"viewer_id": "v", "country": "Singapore"}', 422, "invalid"),
        (b'{"viewer_id": "\\ud800", "country": "SG"}', 400, "unreadable"),
        (b'{"viewer_id": "' + b"v" * 9_000 + b'"}', 413, "too_large"),
    ],
)
def test_a_bad_body_is_refused_with_a_code(house: House, body: bytes, status: int, code: str) -> None:
    answer = decide(house, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_unknown_fields_are_ignored(house: House) -> None:
    assert decide(house, ASKED | {"page": "home"}).json()["ad"] is not None


def test_a_token_is_needed_and_must_be_known(house: House) -> None:
    assert decide(house, token="").status_code == 401
    assert decide(house, token="contatto_wrong").status_code == 401


def test_a_token_without_the_scope_gets_no_ad(house: House) -> None:
    token = new_token(house, house.business_id, Permission.READ_LEADS)
    answer = decide(house, token=token)
    assert (answer.status_code, answer.json()["code"]) == (403, "no_scope")


def test_a_token_gets_the_ads_of_its_own_business_only(house: House) -> None:
    def work(tx: Tx) -> tuple[str, str]:
        world = add_world(tx)
        return world.id, str(add_chain(tx, world).ad.number)

    other, number = house.context.db.write_now(work)
    token = new_token(house, other, Permission.READ_ADS)
    for _ in range(5):
        assert decide(house, token=token).json()["ad"]["ad_id"] == number
        assert decide(house).json()["ad"]["ad_id"] != number


def test_an_account_that_is_asked_for_is_kept_to(house: House) -> None:
    assert decide(house, ASKED | {"channel_account_id": house.webchat_id}).json()["ad"] is not None
    assert decide(house, ASKED | {"channel_account_id": house.tiktok_id}).json() == {"ad": None}
