"""An empty installation is set up by one link, once; a first step is done when the thing is really there."""

from collections.abc import Iterator
from pathlib import Path
from socket import socket

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from contatto.accounts import store
from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.cli.main import app
from contatto.cli.serve import Serving
from contatto.guide.actions import setup_path
from contatto.kit.settings import Settings
from contatto.ui.requests import Context
from contatto.wiring import install
from tests import make
from tests.client import AppClient
from tests.journeys.running import House, csrf_of, running_house
from tests.schema import copy_schema
from tests.unchanged import nothing_changes

FORM = {
    "business": "Teh and Co", "display_name": "Mei", "email": "mei@example.com", "country": "MY",
    "currency": "myr", "timezone": "Asia/Kuala_Lumpur", "password": "a long enough password",
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Context]:
    """An installation without any business."""
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_copy"))
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings(data_dir=tmp_path, database_url=url, worker="separate")))
    yield context
    context.db.close()


@pytest.fixture
def client(empty: Context) -> Iterator[TestClient]:
    with AppClient(create_app(empty), base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        yield client


def link(context: Context) -> str:
    path = context.db.read_now(setup_path)
    assert path is not None
    return path


def test_the_link_sets_an_installation_up_and_signs_its_owner_in(empty: Context, client: TestClient) -> None:
    path = link(empty)
    form = FORM | {"csrf_token": csrf_of(client.get(path).text)}
    assert client.post(path, data=form).headers["location"] == "/start"
    page = client.get("/start").text
    assert "Teh and Co" in page
    [business] = empty.db.read_now(store.list_businesses)
    [owner] = empty.db.read_now(lambda tx: store.list_members(tx, business.id))
    [account] = empty.db.read_now(lambda tx: store.list_ad_accounts(tx, business.id))
    assert (owner.role, owner.email) == (Role.OWNER, "mei@example.com")
    assert (account.country, account.currency, account.timezone) == ("MY", "MYR", "Asia/Kuala_Lumpur")


def test_the_link_is_dead_as_soon_as_there_is_a_business(empty: Context, client: TestClient) -> None:
    path = link(empty)
    csrf = {"csrf_token": csrf_of(client.get(path).text)}
    empty.db.write_now(make.business)
    assert empty.db.read_now(setup_path) is None
    with nothing_changes(empty.db):
        assert client.get(path).status_code == 404
        assert client.post(path, data=FORM | csrf).status_code == 404


@pytest.mark.parametrize("token", ["", "set-up", "set-up.AAAA", "x" * 500])
def test_a_link_that_is_not_ours_opens_nothing(empty: Context, client: TestClient, token: str) -> None:
    path = link(empty)
    csrf = {"csrf_token": csrf_of(client.get(path).text)}
    with nothing_changes(empty.db):
        assert client.get(f"/setup/{token}").status_code == 404
        assert client.post(f"/setup/{token}", data=FORM | csrf).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"business": " "},
        {"email": "mei"},
        {"password": "short"},
        {"currency": "??"},
        {"currency": "XYZ"},
        {"timezone": "UTC"},
        {"timezone": "Asia/Singapore"},
        {"timezone": "Mars/Base"},
    ],
    ids=str,
)
def test_what_is_wrong_is_asked_for_again_with_the_rest_still_there(
    empty: Context, client: TestClient, wrong: dict[str, str]
) -> None:
    path = link(empty)
    form = FORM | wrong | {"csrf_token": csrf_of(client.get(path).text)}
    with nothing_changes(empty.db):
        answer = client.post(path, data=form)
    assert answer.status_code == 422
    assert 'value="Mei"' in answer.text
    assert FORM["password"] not in answer.text


def test_everything_that_is_wrong_is_told_at_once(empty: Context, client: TestClient) -> None:
    path = link(empty)
    wrong = {"business": "", "email": "mei", "password": "short", "country": "", "currency": "XYZ"}
    form = FORM | wrong | {"timezone": "Mars/Base", "csrf_token": csrf_of(client.get(path).text)}
    with nothing_changes(empty.db):
        page = client.post(path, data=form).text
    assert page.count('aria-invalid="true"') == len(wrong) + 1


def test_serving_an_empty_folder_prints_the_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path))

    def run(_: Serving, sockets: list[socket] | None = None) -> None:
        for each in sockets or ():
            each.close()

    monkeypatch.setattr("contatto.cli.serve.Serving.run", run)
    first = CliRunner().invoke(app, ["serve", "--port", "0"]).output
    assert "/setup/" in first
    asked = [
        *["--business", "Teh", "--email", "mei@example.com", "--country", "MY", "--currency", "MYR"],
        "--timezone",
        "Asia/Kuala_Lumpur",
    ]
    wrong = CliRunner().invoke(app, ["init", *asked[:-1], "UTC", "--password", "a long enough password"])
    assert (wrong.exit_code, "choose a time zone of this country" in wrong.output) == (1, True)
    assert CliRunner().invoke(app, ["init", *asked, "--password", "a long enough password"]).exit_code == 0
    assert "/setup/" not in CliRunner().invoke(app, ["serve", "--port", "0"]).output


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path, capture_on=False) as running:
        yield running


def done(house: House) -> list[str]:
    page = house.client.get("/start").text
    return [part.partition('"')[0] for part in page.split('class="steps__one is-done" id="step-')[1:]]


def test_a_step_ticks_itself_when_the_thing_is_there(house: House) -> None:
    house.sign_in()
    assert done(house) == ["channel"]
    house.context.db.write_now(lambda tx: make.member(tx, house.business_id, "agent@example.com", Role.AGENT))
    house.make_ad("CONVERSATION")
    assert done(house) == ["channel", "ad", "colleague"]
