"""The page of channel accounts: connecting, checking, correcting and disconnecting are acts of their own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts.model import Role
from contatto.channels import store
from contatto.channels.actions import set_access_token
from contatto.channels.model import ChannelAccount, CheckState
from contatto.kit.db.tx import Tx
from tests.ads.test_pages import post
from tests.journeys.running import House, running_house
from tests.leads.test_center_pages import sign_in_as
from tests.unchanged import nothing_changes

PAGE = "/settings/channels"
TOKEN = "token-as-the-platform-shows-it"


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url) as running:
        running.sign_in()
        yield running


def act(house: House, deed: str, account_id: str = "", **form: Any) -> Any:
    return post(house, f"{PAGE}/accounts/{account_id or house.tiktok_id}/{deed}", page=PAGE, **form)


def account_of(house: House, account_id: str = "") -> ChannelAccount:
    def look(tx: Tx) -> ChannelAccount | None:
        return store.find_account(tx, house.business_id, account_id or house.tiktok_id)

    found = house.context.db.read_now(look)
    assert found
    return found


def token_of(house: House) -> str | None:
    return house.context.db.read_now(lambda tx: store.find_token(tx, house.business_id, house.tiktok_id))


@pytest.mark.parametrize("typed", ["", "   ", "two words", "x" * 2_001, "ключ"])
def test_saving_a_token_that_is_none_is_refused_and_disconnects_nothing(house: House, typed: str) -> None:
    assert act(house, "token", access_token=TOKEN).status_code == 303
    with nothing_changes(house.context.db):
        refused = act(house, "token", access_token=typed)
    assert refused.status_code == 422
    assert 'aria-invalid="true"' in refused.text
    assert token_of(house) == TOKEN


@pytest.mark.parametrize("typed", ["abc 123", "id/7", "ключ"])
def test_an_id_that_no_platform_gives_is_refused(house: House, typed: str) -> None:
    form = {"name": "Kopi", "handle": "", "country": "SG", "external_id": typed}
    with nothing_changes(house.context.db):
        refused = act(house, "correct", **form)
    assert refused.status_code == 422
    assert "Copy it from the platform." in refused.text


def test_the_page_says_what_the_platform_says_of_a_token(house: House) -> None:
    def save(tx: Tx) -> None:  # on the page it would be tried at once, by a worker
        set_access_token(tx, house.business_id, house.tiktok_id, TOKEN)

    house.context.db.write_now(save)
    page = house.client.get(PAGE).text
    assert "The token has not been checked with the platform yet" in page
    assert "Replies on" not in page.partition(house.tiktok_id)[2].partition("</section>")[0]
    assert "Checking the token" in page
    [check] = re.findall(r'<div[^>]*id="check-.*?</form>', page, re.DOTALL)
    assert 'hx-trigger="live:channel_checked from:body' in check
    assert f'action="{PAGE}/accounts/{house.tiktok_id}/check"' in check

    def refuse(tx: Tx) -> None:
        store.record_token_check(tx, house.business_id, house.tiktok_id, CheckState.REFUSED, "token_refused")

    house.context.db.write_now(refuse)
    page = house.client.get(PAGE).text
    assert "The platform refuses the access token." in page
    assert "Replies off" in page
    assert act(house, "check").status_code == 303
    assert "The platform refuses the access token." not in house.client.get(PAGE).text
    act(house, "disconnect", confirmed="1")
    with nothing_changes(house.context.db):
        assert act(house, "check").status_code == 422


def test_disconnecting_is_an_act_of_its_own_that_says_what_it_does(house: House) -> None:
    act(house, "token", access_token=TOKEN)
    [form] = re.findall(r'<form[^>]*/disconnect".*?</form>', house.client.get(PAGE).text, re.DOTALL)
    assert "Disconnect Kopi on TikTok" in form
    with nothing_changes(house.context.db):  # a press that was not confirmed
        assert act(house, "disconnect").status_code == 422
    assert act(house, "disconnect", confirmed="1").status_code == 303
    assert token_of(house) is None
    assert "/disconnect" not in house.client.get(PAGE).text
    assert account_of(house).name == "Kopi on TikTok"


def test_a_mistyped_country_is_corrected_in_place(house: House) -> None:
    page = house.client.get(PAGE).text
    assert f"{PAGE}/accounts/{house.tiktok_id}/correct" in page
    sent = {"name": "Kopi & Cake", "handle": "@kopi.cake", "country": "MY", "external_id": "open-2"}
    assert act(house, "correct", **sent).status_code == 303
    account = account_of(house)
    shown = (account.name, account.handle, account.registration_country, account.external_id)
    assert shown == ("Kopi & Cake", "kopi.cake", "MY", "open-2")
    assert "Malaysia" in house.client.get(PAGE).text


def test_the_chat_page_of_our_own_keeps_its_id(house: House) -> None:
    before = account_of(house, house.webchat_id)
    sent = {"name": "Kopi chat", "handle": "kopi", "country": "ID", "external_id": "other"}
    assert act(house, "correct", house.webchat_id, **sent).status_code == 303
    after = account_of(house, house.webchat_id)
    assert (after.external_id, after.registration_country) == (before.external_id, "ID")


@pytest.mark.parametrize(
    "wrong",
    [{"country": "XX"}, {"country": ""}, {"country": "Singapore"}, {"name": " "}, {"external_id": ""}],
)
def test_a_correction_that_is_none_changes_nothing_and_keeps_what_was_typed(
    house: House, wrong: dict[str, str]
) -> None:
    sent = {"name": "Kopi <new>", "handle": "kopi", "country": "MY", "external_id": "open-2"} | wrong
    with nothing_changes(house.context.db):
        refused = act(house, "correct", **sent)
    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    if "name" not in wrong:
        assert "Kopi &lt;new&gt;" in refused.text


def test_an_account_cannot_be_corrected_into_another_one(house: House) -> None:
    form = {"platform": "tiktok", "external_id": "open-9", "name": "Second", "country": "SG"}
    assert post(house, f"{PAGE}/accounts", page=PAGE, **form).status_code == 303
    with nothing_changes(house.context.db):
        sent = {"name": "Kopi", "handle": "", "country": "SG", "external_id": "open-9"}
        assert act(house, "correct", **sent).status_code == 422


def test_a_country_that_is_none_connects_nothing(house: House) -> None:
    form = {"platform": "tiktok", "external_id": "open-9", "name": "Second", "country": "XX"}
    with nothing_changes(house.context.db):
        assert post(house, f"{PAGE}/accounts", page=PAGE, **form).status_code == 422


def test_who_may_not_administer_is_offered_none_of_it(house: House) -> None:
    sign_in_as(house, Role.AGENT)
    page = house.client.get(PAGE).text
    for name in ("token", "check", "correct", "disconnect"):
        assert f'/{name}"' not in page
    for name, form in (
        ("check", {}), ("correct", {"country": "MY"}), ("disconnect", {"confirmed": "1"}),
    ):  # fmt: skip
        with nothing_changes(house.context.db):
            assert act(house, name, **form).status_code == 403
