"""Signing in and out, and tokens on the settings page, through the real doors."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from contatto.accounts.actions import NewAdAccount, add_ad_account
from contatto.accounts.model import AdAccount, ApiToken
from contatto.accounts.store import list_ad_accounts, list_tokens
from contatto.kit.db.tx import Tx
from contatto.people.actions import TRIES
from contatto.ui.render import SESSION_COOKIE
from tests.journeys.running import API, EMAIL, PASSWORD, House, csrf_of, running_house
from tests.unchanged import nothing_changes


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def log_in(house: House, email: str = EMAIL, password: str = PASSWORD, **more: str) -> httpx2.Response:
    form = {"email": email, "password": password, "csrf_token": csrf_of(house.client.get("/login").text)}
    return house.client.post("/login", data=form | more, follow_redirects=False)


def settings_form(house: House, path: str, **values: str) -> httpx2.Response:
    token = csrf_of(house.client.get("/settings").text)
    return house.client.post(path, data=values | {"csrf_token": token}, follow_redirects=False)


def test_a_member_signs_in_and_out(house: House) -> None:
    assert house.client.get("/inbox", follow_redirects=False).headers["location"] == "/login?next=/inbox"
    answer = log_in(house, f" {EMAIL.upper()} ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/home")
    cookie = house.client.cookies[SESSION_COOKIE]
    assert house.client.get("/inbox", follow_redirects=False).status_code == 200
    assert settings_form(house, "/logout").headers["location"] == "/login"
    house.client.cookies.set(SESSION_COOKIE, cookie)
    assert house.client.get("/inbox", follow_redirects=False).status_code == 303


def test_a_wrong_password_and_an_unknown_address_look_the_same(house: House) -> None:
    wrong = log_in(house, password="another long password")
    unknown = log_in(house, "nobody@example.com")
    for answer in (wrong, unknown, log_in(house, "no address")):
        assert answer.status_code == 401
        assert "E-mail or password is wrong." in answer.text
        assert SESSION_COOKIE not in house.client.cookies
    assert EMAIL in wrong.text  # what was typed stays
    assert PASSWORD not in wrong.text


@pytest.mark.parametrize(
    "email", ["a\0b@example.com", "x" * 5_000 + "@example.com", "<b>@example.com", "²@a.b"]
)
def test_a_hostile_address_is_turned_down_like_any_other(house: House, email: str) -> None:
    answer = log_in(house, email)
    assert answer.status_code == 401
    assert "<b>" not in answer.text


def test_after_too_many_failures_even_the_right_password_must_wait(house: House) -> None:
    for _ in range(TRIES):
        assert log_in(house, password="another long password").status_code == 401
    with nothing_changes(house.context.db):
        answer = log_in(house)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/leads?q=a", "/leads?q=a"), ("//example.com", "/home"), ("https://example.com", "/home"),
     ("/\\example.com", "/home"), ("javascript:alert(1)", "/home"), ("/a\r\nB: x", "/home"),
     ("", "/home")],
)  # fmt: skip
def test_one_is_led_on_to_a_page_of_ours_only(house: House, path: str, wanted: str) -> None:
    assert log_in(house, next=path).headers["location"] == wanted


def test_without_its_token_the_log_in_form_is_refused(house: House) -> None:
    house.client.get("/login")
    with nothing_changes(house.context.db):
        form = {"email": EMAIL, "password": PASSWORD}
        assert house.client.post("/login", data=form).status_code == 403


def test_a_session_from_before_is_not_taken_over_when_signing_in(house: House) -> None:
    house.client.cookies.set(SESSION_COOKIE, "session_chosen_by_somebody")
    log_in(house)
    cookies = [cookie.value for cookie in house.client.cookies.jar if cookie.name == SESSION_COOKIE]
    assert any(value != "session_chosen_by_somebody" for value in cookies)


def test_a_token_is_shown_once_works_and_ends_at_once(house: House) -> None:
    house.sign_in()
    page = settings_form(house, "/settings/tokens", name="CRM <b>", scopes="ads.read")
    assert page.status_code == 200
    assert "<b>" not in page.text
    token = next(word for word in page.text.replace('"', " ").replace("<", " ").replace(">", " ").split()
                 if word.startswith("contatto_") and len(word) > 40)  # fmt: skip
    assert token not in house.client.get("/settings").text

    def code() -> Any:
        headers = {"Access-Token": token}
        return house.client.get(f"{API}/oauth2/advertiser/get/", headers=headers).json()["code"]

    assert code() == 0
    newest = house.context.db.read_now(lambda tx: list_tokens(tx, house.business_id))[0]  # type: ignore[arg-type]
    assert newest.name == "CRM <b>"
    assert settings_form(house, f"/settings/tokens/{newest.id}/revoke").status_code == 303
    assert code() == 40105


def test_a_token_without_a_name_is_refused_and_nothing_is_kept(house: House) -> None:
    house.sign_in()
    token = csrf_of(house.client.get("/settings").text)
    with nothing_changes(house.context.db):
        answer = house.client.post(
            "/settings/tokens", data={"name": " ", "scopes": "ads.read", "csrf_token": token}
        )
    assert answer.status_code == 422
    assert "enter a name for the token" in answer.text


def made_token(page: str) -> str:
    found = re.search(r'id="new-token">(contatto_[\w-]{40,})<', page)
    assert found, page
    return found.group(1)


def kept_tokens(house: House) -> list[ApiToken]:
    return house.context.db.read_now(lambda tx: list_tokens(tx, house.business_id))  # type: ignore[arg-type]


def test_a_token_may_do_what_was_chosen_and_no_more(house: House) -> None:
    house.sign_in()
    token = csrf_of(house.client.get("/settings").text)
    form = {"name": "Reports", "scopes": ["reports.read", "ads.read"], "csrf_token": token}
    house.token = made_token(house.client.post("/settings/tokens", data=form).text)
    assert kept_tokens(house)[0].scopes == ("ads.read", "reports.read")
    assert house.api("GET", "/campaign/get/")["code"] == 0
    assert house.api("POST", "/campaign/create/", campaign_name="X")["code"] == 40130
    page = house.client.get("/settings").text
    assert "Read ads, Read reports" in page


def test_a_token_for_one_ad_account_is_made_on_the_page(house: House) -> None:
    house.sign_in()

    def second(tx: Tx) -> AdAccount:
        new = NewAdAccount("Second <b>", "SG", "SGD", "Asia/Singapore")
        return add_ad_account(tx, house.business_id, new)  # type: ignore[arg-type]

    account = house.context.db.write_now(second)
    form = {"name": "Agency", "scopes": "ads.read", "ad_accounts": account.id}
    page = settings_form(house, "/settings/tokens", **form)
    house.token = made_token(page.text)
    assert "Second &lt;b&gt;" in page.text
    assert house.api("GET", "/campaign/get/")["code"] == 40300
    house.advertiser_id = str(account.number)
    assert house.api("GET", "/campaign/get/")["code"] == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [({}, "choose some of"), ({"scopes": "king"}, "choose some of"),
     ({"scopes": "ads.read", "ad_accounts": "nobody"}, "some of the ad accounts of this business"),
     ({"scopes": ["inbox.read", "ads.read"], "ad_accounts": "own"}, "apply to the whole business")],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/settings/tokens", "/settings/auth-codes"])
def test_what_cannot_be_chosen_is_refused_and_what_was_typed_stays(
    house: House, path: str, more: dict[str, Any], says: str
) -> None:
    house.sign_in()
    accounts = house.context.db.read_now(lambda tx: list_ad_accounts(tx, house.business_id))  # type: ignore[arg-type]
    chosen = {name: accounts[0].id if value == "own" else value for name, value in more.items()}
    token = csrf_of(house.client.get("/settings").text)
    with nothing_changes(house.context.db):
        answer = house.client.post(path, data=chosen | {"name": "My CRM", "csrf_token": token})
    assert answer.status_code == 422
    assert says in answer.text
    assert 'value="My CRM"' in answer.text
    if more.get("ad_accounts") == "own":
        for value in ("inbox.read", "ads.read", accounts[0].id):
            assert re.search(f'value="{value}" checked', answer.text)
