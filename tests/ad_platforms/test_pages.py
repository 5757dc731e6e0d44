"""The pages of ad accounts elsewhere, through the running app and its worker."""

import io
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import xlsxwriter
from sqlalchemy import select

from contatto.accounts.actions import issue_auth_code
from contatto.accounts.model import BusinessId
from contatto.ad_platforms import store
from contatto.ad_platforms.actions import STATE_S, OutsideVisitor, authorize_url, read_state
from contatto.ad_platforms.model import OutsideAccount
from contatto.ad_platforms.store import list_ad_days, list_outside_accounts
from contatto.channels.actions import register_app
from contatto.channels.model import ChannelApp, Platform
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.queue import jobs
from tests.ad_platforms.counterpart import noon, spend
from tests.conformance.conftest import running_server_house
from tests.journeys.running import APP_ID, PASSWORD, House, csrf_of, running_house, until

HOME = "/settings/ad-platforms"
ALL_DAYS = ("2015-01-01", "2100-12-31")
FILE = "Campaign name,Ad group name,Ad name,Ad ID,Day,Cost,Impressions,Clicks\n"
ROWS = 'Spring,Chats,Cat,1801,2026-01-05,"1,234.50",400,9\nSpring,Chats,Dog,1802,2026-01-05,2.00,40,1\n'

TWO_CURRENCIES = f"{FILE.strip()},Currency\na,b,c,1,2026-01-05,1,1,1,SGD\na,b,c,2,2026-01-05,1,1,1,EUR\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_copy")
    with running_house(tmp_path, database_url=url, allowed_hosts=("127.0.0.1:*",)) as running:
        running.sign_in()
        yield running


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_server_house(tmp_path_factory.mktemp("elsewhere")) as running:
        ad = running.make_ad("LEAD_GENERATION")
        spend(running, ad["ad_id"], noon(20, 11), [1.5, 2.5], clicks=2)
        yield running


def post(house: House, path: str, **form: str) -> tuple[int, str]:
    token = csrf_of(house.client.get(HOME).text)
    answer = house.client.post(path, data=form | {"csrf_token": token}, follow_redirects=False)
    return answer.status_code, answer.headers.get("location", "") or words(answer.text)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(html)).split())


def accounts(house: House) -> list[OutsideAccount]:
    return house.context.db.read_now(lambda tx: list_outside_accounts(tx, house.business_id))


def amounts(house: House) -> dict[tuple[int, str], int]:
    def look(tx: Tx) -> dict[tuple[int, str], int]:
        (account,) = list_outside_accounts(tx, house.business_id)
        return {(day.ad_number, day.day): day.spend_micros for day in list_ad_days(tx, account, ALL_DAYS)}

    return house.context.db.read_now(look)


def connect(house: House, other: House, **changes: str) -> str:
    form = {
        "platform": "tiktok", "external_id": other.advertiser_id, "backfill_days": "30",
        "base_url": str(other.client.base_url).rstrip("/"), "access_token": other.token,
    } | changes  # fmt: skip
    status, place = post(house, HOME, **form)
    assert status == 303, place
    return place


def test_a_connected_account_is_read_by_the_worker_and_shows_its_ads(house: House, elsewhere: House) -> None:
    place = connect(house, elsewhere)
    assert until(lambda: "Up to date" in words(house.client.get(place).text))
    shown = words(house.client.get(place).text)
    assert "1 campaign, 1 ad group, 1 ad" in shown
    assert "Ad of LEAD_GENERATION" in shown
    assert "Up to date" in words(house.client.get(HOME).text)
    assert sum(amounts(house).values()) == 4_000_000
    assert elsewhere.token not in house.client.get(place).text


def test_a_token_that_is_refused_is_shown_and_a_new_one_puts_it_right(house: House, elsewhere: House) -> None:
    place = connect(house, elsewhere, access_token="wrong")
    assert until(lambda: "no longer accepts the access token" in words(house.client.get(place).text))
    assert "Sync an external ad account" in words(house.client.get("/settings/jobs").text)
    assert post(house, f"{place}/token", access_token=elsewhere.token) == (303, place)
    assert until(lambda: "Up to date" in words(house.client.get(place).text))


def test_an_auth_code_is_changed_into_a_token_by_the_worker(house: House, elsewhere: House) -> None:
    place = connect(house, elsewhere, access_token="")
    assert "Not connected" in words(house.client.get(place).text)

    def code_of(tx: Tx) -> str:
        owner = BusinessId(elsewhere.business_id)
        return issue_auth_code(tx, owner, "reader", ["ads.read", "reports.read"])

    code = elsewhere.context.db.write_now(code_of)
    assert post(house, f"{place}/code", app_id=APP_ID, code=code) == (303, place)
    assert until(lambda: "Up to date" in words(house.client.get(place).text))
    assert post(house, f"{place}/code", app_id="nobody's", code=code)[0] == 422


def test_the_way_to_a_platform_and_back_is_this_members_own(house: House) -> None:
    form = {"platform": "tiktok", "external_id": "7001", "access_token": ""}
    _, place = post(house, HOME, **form)
    page = house.client.get(place).text
    href = unescape(re.search(r'href="(https://business-api\.tiktok\.com/portal/auth[^"]+)"', page).group(1))  # type: ignore[union-attr]
    asked = parse_qs(urlsplit(href).query)
    assert asked["app_id"] == [APP_ID]
    assert asked["redirect_uri"][0].endswith("/settings/ad-platforms/return")
    state = asked["state"][0]
    back = house.client.get(f"{HOME}/return", params={"state": state, "auth_code": "code-1"})
    assert back.status_code == 200
    assert "Connect 7001" in words(back.text)
    assert accounts(house)[0].state.value == "uploads"  # nothing has happened yet
    for wrong in ("", "x", f"{state}x", state[:-4]):
        assert house.client.get(f"{HOME}/return", params={"state": wrong, "code": "c"}).status_code == 401
        assert post(house, f"{HOME}/return", state=wrong, code="c")[0] in (401, 422)
    assert post(house, f"{HOME}/return", state=state, code="code-1") == (303, place)
    assert accounts(house)[0].state.value != "uploads"


def test_a_state_is_good_for_one_code_and_one_session(house: House) -> None:
    """A second code would put an account of whoever brings it in the place of ours."""
    _, place = post(house, HOME, platform="tiktok", external_id="7001", access_token="")
    page = house.client.get(place).text
    href = unescape(re.search(r'href="(https://business-api\.tiktok\.com/portal/auth[^"]+)"', page).group(1))  # type: ignore[union-attr]
    state = parse_qs(urlsplit(href).query)["state"][0]
    mine = dict(house.client.cookies)
    house.client.cookies.clear()
    token = csrf_of(house.client.get("/login").text)
    form = {"email": "owner@example.com", "password": PASSWORD, "csrf_token": token}
    assert house.client.post("/login", data=form, follow_redirects=False).status_code == 303
    assert house.client.get(f"{HOME}/return", params={"state": state, "code": "c"}).status_code == 401
    assert post(house, f"{HOME}/return", state=state, code="code-1")[0] == 401
    house.client.cookies.clear()
    house.client.cookies.update(mine)
    assert post(house, f"{HOME}/return", state=state, code="code-1") == (303, place)
    pulls = queued(house)
    assert post(house, f"{HOME}/return", state=state, code="code-1") == (303, place), (
        "sent twice by a browser"
    )
    assert post(house, f"{HOME}/return", state=state, code="code-2")[0] in (409, 422)
    assert queued(house) == pulls


def queued(house: House) -> list[Any]:
    shown = jobs.c.id, jobs.c.created_at
    read = house.context.db.read_now
    return read(lambda tx: [tuple(row) for row in tx.execute(select(*shown).order_by(jobs.c.id))])


def test_a_state_is_of_one_member_and_of_one_hour(house: House) -> None:
    post(house, HOME, platform="tiktok", external_id="7001", access_token="")
    (account,) = accounts(house)
    vault = house.context.vault
    visitor = OutsideVisitor("member-1", "session-1")
    href = authorize_url(vault, account, APP_ID, visitor, (1_000, "https://us.example.com"))
    state = parse_qs(urlsplit(href).query)["state"][0]
    assert read_state(vault, state, visitor, 1_000 + STATE_S) == (account.id, APP_ID)
    for other, now_s in (
        (OutsideVisitor("member-2", "session-1"), 1_000),
        (OutsideVisitor("member-1", "session-2"), 1_000),
        (visitor, 1_001 + STATE_S),
        (visitor, 999),
    ):
        with pytest.raises(Refused):
            read_state(vault, state, other, now_s)


def test_an_app_of_another_platform_lets_nobody_in(house: House) -> None:
    app = ChannelApp("meta-app", house.business_id, Platform.MESSENGER, "secret")
    house.context.db.write_now(lambda tx: register_app(tx, app))
    _, place = post(house, HOME, platform="tiktok", external_id="7001", access_token="")
    assert post(house, f"{place}/code", app_id="meta-app", code="code-1")[0] == 422


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"external_id": "abc"}, "which is a number"),
        ({"base_url": "http://192.168.0.1"}, "public https address"),
        ({"access_token": "two words"}, "Paste the token"),
    ],
)
def test_a_wrong_account_is_refused_in_place_and_the_token_is_not_shown_again(
    house: House, elsewhere: House, changes: dict[str, str], says: str
) -> None:
    form = {"platform": "tiktok", "external_id": "7001", "access_token": "tok-1"} | changes
    token = csrf_of(house.client.get(HOME).text)
    answer = house.client.post(HOME, data=form | {"csrf_token": token})
    assert answer.status_code == 422
    assert says in words(answer.text)
    assert form["access_token"] not in answer.text
    assert accounts(house) == []


def test_disconnecting_keeps_what_was_read(house: House, elsewhere: House) -> None:
    place = connect(house, elsewhere)
    assert until(lambda: "Up to date" in words(house.client.get(place).text))
    assert post(house, f"{place}/disconnect") == (303, place)
    assert "Not connected" in words(house.client.get(place).text)
    assert sum(amounts(house).values()) == 4_000_000
    token = csrf_of(house.client.get(HOME).text)
    assert house.client.post(f"{place}/pull", data={"csrf_token": token}).status_code == 409


def upload(house: House, path: str = "", **form: str) -> tuple[int, str]:
    new = {"external_id": "7001", "name": "Shop", "currency": "SGD", "timezone": "Asia/Singapore"}
    return post(house, f"{HOME}/upload{path}", **({"text": FILE + ROWS} | new | form))


def test_a_file_is_shown_before_anything_happens_and_then_kept(house: House) -> None:
    status, shown = upload(house)
    assert status == 200
    assert "2 new, 0 changed, 0 unchanged, 0 skipped" in shown
    assert "1,234.50" in shown
    assert accounts(house) == []
    status, place = upload(house, "/start")
    assert status == 303
    assert amounts(house) == {(1801, "2026-01-05"): 1_234_500_000, (1802, "2026-01-05"): 2_000_000}
    assert "Cat" in words(house.client.get(place).text)


def test_a_file_again_changes_nothing_and_a_corrected_one_replaces(house: House) -> None:
    upload(house, "/start")
    (account,) = accounts(house)
    known = {"outside_id": account.id, "external_id": "", "currency": ""}
    assert "0 new, 0 changed, 2 unchanged" in upload(house, **known)[1]
    corrected = FILE + ROWS.replace("2.00", "3.00")
    assert "0 new, 1 changed, 1 unchanged" in upload(house, text=corrected, **known)[1]
    upload(house, "/start", text=corrected, **known)
    assert amounts(house)[1802, "2026-01-05"] == 3_000_000


def test_rows_that_cannot_be_read_are_named_and_the_others_are_kept(house: House) -> None:
    bad = "Spring,Chats,,,2026-01-05,1,1,1\nSpring,Chats,Cat,1801,yesterday,1,1,1\n"
    bad += ",,,1801,2026-01-06,much,1,1\n"
    status, shown = upload(house, "/start", text=FILE + ROWS + bad)
    assert status == 200
    assert "The file was saved, except for the rows below" in shown
    assert "3 It names no ad 4 This is no day" in shown
    assert "5 This is no amount" in shown
    assert len(amounts(house)) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"text": "a,b\n1,2"}, "is missing in the first row"),
        ({"text": ""}, "is missing in the first row"),
        ({"text": FILE}, "rows below the column names"),
        ({"currency": ""}, "three letters"),
        ({"timezone": "Mars/Base"}, "IANA"),
        ({"text": TWO_CURRENCIES}, "several currencies"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_taken_is_refused_in_place(
    house: House, changes: dict[str, str], says: str
) -> None:
    for path in ("", "/start"):
        status, shown = upload(house, path, **changes)
        assert status == 422
        assert says in shown
    assert accounts(house) == []


def test_amounts_in_another_currency_than_the_accounts_are_refused(house: House) -> None:
    upload(house, "/start")
    (account,) = accounts(house)
    text = (FILE + ROWS).replace("Cost", "Cost (EUR)")
    status, shown = upload(house, "/start", text=text, outside_id=account.id)
    assert status == 422
    assert "This account uses SGD" in shown


def sheet(rows: list[list[str | float]]) -> bytes:
    raw = io.BytesIO()
    book = xlsxwriter.Workbook(raw, {"in_memory": True})
    page = book.add_worksheet()
    for line, row in enumerate(rows):
        for column, cell in enumerate(row):
            page.write(line, column, cell)
    book.close()
    return raw.getvalue()


def read_sheet(house: House, raw: bytes) -> tuple[int, str]:
    token = csrf_of(house.client.get(HOME).text)
    answer = house.client.post(f"{HOME}/upload/file", content=raw, headers={"X-CSRF-Token": token})
    return answer.status_code, answer.json().get("text", "") if answer.status_code == 200 else answer.text


def test_a_spreadsheet_becomes_the_text_of_the_form(house: House) -> None:
    head: list[str | float] = ["Ad name", "Ad ID", "Day", "Amount spent (EUR)", "Impressions", "Link clicks"]
    status, text = read_sheet(
        house, sheet([head, ["Cat, the", "1801234567890123456", "2026-01-05", 12.25, 400, 9]])
    )
    assert status == 200
    assert text.splitlines()[1] == '"Cat, the",1801234567890123456,2026-01-05,12.25,400,9'
    status, place = upload(house, "/start", text=text, currency="")
    assert status == 303, place
    assert amounts(house) == {(1801234567890123456, "2026-01-05"): 12_250_000}
    assert accounts(house)[0].currency == "EUR"


def test_an_id_that_a_spreadsheet_has_rounded_is_not_taken_for_another_ad(house: House) -> None:
    head: list[str | float] = ["Ad name", "Ad ID", "Day", "Cost", "Impressions", "Clicks"]
    _, text = read_sheet(house, sheet([head, ["Cat", 1801234567890123456.0, "2026-01-05", 1, 1, 1]]))
    assert "A spreadsheet has shortened the ad's id" in upload(house, text=text)[1]


@pytest.mark.parametrize("raw", [b"PK\x03\x04", b"PK\x03\x04" + bytes(5_000), b"x" * 5_000_000])
def test_what_is_no_spreadsheet_is_refused(house: House, raw: bytes) -> None:
    assert read_sheet(house, raw)[0] in (413, 422)


def test_without_the_token_of_a_form_nothing_is_read_or_changed(house: House) -> None:
    for path in ("", "/upload/start", "/upload/file"):
        assert house.client.post(f"{HOME}{path}", data={"text": FILE + ROWS}).status_code == 403
    assert accounts(house) == []


def test_one_account_too_many_is_refused_by_name(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_ACCOUNTS", 0)
    status, says = post(house, HOME, platform="tiktok", external_id="7001")
    assert (status, "Connect at most 0 ad accounts." in says) == (422, True)
