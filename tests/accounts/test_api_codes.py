"""Auth codes: once, soon, and of one business; made in Settings by those who may."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.accounts import actions, store
from contatto.accounts.model import Permission
from contatto.accounts.rules import AUTH_CODE_S
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from tests import make
from tests.journeys.running import House, csrf_of, running_house


def issue(database: Database) -> tuple[str, str]:
    def work(tx: Tx) -> tuple[str, str]:
        business = make.business(tx)
        return business.id, actions.issue_auth_code(tx, business.id, "script", [Permission.READ_ADS.value])

    return database.write_now(work)


def test_a_code_gives_a_token_of_its_business_with_its_scopes(database: Database) -> None:
    business_id, code = issue(database)
    kept, _ = database.write_now(lambda tx: actions.redeem_auth_code(tx, code))
    assert (kept.business_id, kept.scopes, kept.name) == (business_id, ("ads.read",), "script")


def test_a_code_that_waited_too_long_is_refused_and_swept_away(database: Database, clock: FixedClock) -> None:
    _, code = issue(database)
    clock.advance(seconds=AUTH_CODE_S)
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: actions.redeem_auth_code(tx, code))
    assert refused.value.code is errors.BAD_CODE
    assert database.write_now(actions.purge_codes) == 1


def test_a_used_code_is_gone(database: Database) -> None:
    _, code = issue(database)
    database.write_now(lambda tx: actions.redeem_auth_code(tx, code))
    with pytest.raises(Refused):
        database.write_now(lambda tx: actions.redeem_auth_code(tx, code))
    assert database.write_now(actions.purge_codes) == 0


def test_terms_confirmed_for_one_business_are_not_for_another(database: Database) -> None:
    def work(tx: Tx) -> tuple[bool, bool]:
        first, second = make.business(tx), make.business(tx)
        new = actions.NewAdAccount("Main", "SG", "SGD", "Asia/Singapore")
        account = actions.add_ad_account(tx, first.id, new)
        actions.confirm_term(tx, account, "LeadAds")
        mine = store.has_confirmed_term(tx, first.id, account.id, "LeadAds")
        return mine, store.has_confirmed_term(tx, second.id, account.id, "LeadAds")

    assert database.write_now(work) == (True, False)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        yield running


def test_settings_make_a_code_that_a_program_changes_into_a_token(house: House) -> None:
    house.sign_in()
    form = {"name": "Nightly export", "scopes": ["ads.read"]}
    form |= {"csrf_token": csrf_of(house.client.get("/settings").text)}
    page = house.client.post("/settings/auth-codes", data=form).text
    found = re.search(r"code_[\w-]{40,}", page)
    assert found
    body = {"app_id": "1", "secret": "2", "auth_code": found.group()}
    answer = house.client.post("/open_api/v1.3/oauth2/access_token/", json=body).json()
    house.token = answer["data"]["access_token"]
    assert house.api("GET", "/campaign/get/")["code"] == 0
    assert form["name"] in house.client.get("/settings").text


def test_a_code_needs_a_name(house: House) -> None:
    house.sign_in()
    form = {"name": " ", "scopes": "ads.read"}
    form |= {"csrf_token": csrf_of(house.client.get("/settings").text)}
    page = house.client.post("/settings/auth-codes", data=form)
    assert (page.status_code, "code_" in page.text) == (422, False)
