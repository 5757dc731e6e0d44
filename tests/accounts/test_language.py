"""Choosing a language: a member in Settings, a customer on the chat page."""

from collections.abc import Iterator

import pytest

from contatto.kit.languages import translator_for
from tests.journeys.running import House, csrf_of, running_house
from tests.unchanged import nothing_changes


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as house:
        yield house


def test_a_member_s_choice_holds_on_every_page_and_in_refusals(house: House) -> None:
    house.sign_in()
    token = csrf_of(house.client.get("/settings").text)
    form = {"csrf_token": token, "language": "it", "display_name": "Owner"}
    assert house.client.post("/settings/profile", data=form, follow_redirects=False).status_code == 303
    page = house.client.get("/leads", headers={"accept-language": "ja"}).text
    assert '<html lang="it" dir="ltr">' in page
    assert translator_for("it").gettext("Settings") in page
    refused = house.client.get("/leads/none").text
    assert translator_for("it").gettext("Lead not found.") in refused


def test_a_language_that_we_do_not_have_is_refused_and_changes_nothing(house: House) -> None:
    house.sign_in()
    token = csrf_of(house.client.get("/settings").text)
    with nothing_changes(house.context.db):
        form = {"csrf_token": token, "language": "xx", "display_name": "Owner"}
        answer = house.client.post("/settings/profile", data=form)
        assert answer.status_code == 422
        assert house.client.get("/language?to=xx").status_code == 422


def test_a_customer_s_choice_is_kept_and_leads_back_to_the_chat(house: House) -> None:
    chat = f"/chat/{house.webchat_id}"
    house.client.cookies.clear()
    answer = house.client.get(f"/language?to=ar&next={chat}", follow_redirects=False)
    assert answer.headers["location"] == chat
    assert '<html lang="ar" dir="rtl">' in house.client.get(chat).text
    elsewhere = house.client.get("/language?to=en&next=//example.com", follow_redirects=False)
    assert elsewhere.headers["location"] == "/"
