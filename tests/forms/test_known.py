"""What a form shows of the person who opens it: their own words in this chat, and nobody else's."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.forms import actions
from contatto.forms.model import Content, FormVersion, QuestionKind
from contatto.forms.rules.drafts import edit_content
from contatto.forms.rules.views import show_sheet
from contatto.kit.db.tx import Tx
from contatto.leads.actions.annotations import merge_leads
from contatto.leads.model import Actor, Picks
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from tests.forms.edges import offer, send
from tests.forms.papers import content, question
from tests.journeys.running import House, running_house, until

MAIL = {"q1": "mei@example.com", "q2": "+6581234567"}
FILLED = "Taken from your messages. Please check it."


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        yield running


def asking(**texts: str) -> Content:
    """A form that fills in the address and the number, but no other number."""
    made = content(
        question("q1", QuestionKind.EMAIL, required=True, prefill=True),
        question("q2", QuestionKind.PHONE, prefill=True, country="SG"),
        question("q3", QuestionKind.WHATSAPP, country="SG"),
    )
    return edit_content(made, {f"w:{key}": [text] for key, text in texts.items()}, "en")


def chat(house: House) -> str:
    return house.client.get(f"/chat/{house.webchat_id}").text


def say(house: House, text: str) -> None:
    """Write in the chat, and wait until it stands there."""
    body = {"client_message_id": str(uuid.uuid4()), "text": text}
    address = f"/chat/{house.webchat_id}/messages"
    assert house.client.post(address, json=body).status_code == 200
    assert until(lambda: text in house.client.get(address).text)


def filled(page: str) -> dict[str, str]:
    """The answers that stand in the form already, by question."""
    found = re.findall(r'<input class="input" id="f-(q\d)"[^>]* value="([^"]*)"', page)
    return dict(found)


def test_what_the_person_wrote_is_filled_in_to_be_checked_and_the_last_word_counts(house: House) -> None:
    offer(house, asking())
    assert filled(chat(house)) == {}
    assert "data-review" not in chat(house)
    say(house, "I am old@example.com, my number is +65 8123 4567")
    say(house, "no, write to new@example.com")
    page = chat(house)
    assert filled(page) == {"q1": "new@example.com", "q2": "+6581234567"}
    assert page.count(FILLED) == 2
    assert "data-review" in page


def test_nothing_of_another_person_is_shown_not_even_after_a_merge(house: House) -> None:
    version = offer(house, asking())
    chat(house)
    say(house, "I am mei@example.com")
    mine = dict(house.client.cookies)
    assert filled(chat(house)) == {"q1": "mei@example.com"}
    house.client.cookies.clear()
    chat(house)
    say(house, "my number is +65 8222 2222")
    theirs = dict(house.client.cookies)
    assert filled(chat(house)) == {"q2": "+6582222222"}
    found = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    wish = (found[0].id, found[1].id, Picks(), "the same family")
    owner = Actor(house.business_id, "owner", "Owner")
    house.context.db.write_now(lambda tx: merge_leads(tx, owner, *wish))
    for cookies, foreign in ((mine, "+6582222222"), (theirs, "mei@example.com")):
        house.client.cookies.clear()
        house.client.cookies.update(cookies)
        sheet = house.client.get(f"/chat/{house.webchat_id}/form/{version.number}").text
        assert 'id="f-q1"' in sheet
        assert foreign not in chat(house) + sheet


def test_a_link_shows_nothing_of_the_person_for_it_may_be_passed_on(house: House) -> None:
    version = offer(house, asking(again_title="Good to see you"))
    sheet = show_sheet(version.content, "en", version.number, "", house.context.clock.now())
    assert [each["value"] for each in sheet["questions"]] == ["", "", ""]
    assert not sheet["is_back"]


def test_who_sent_the_form_before_reads_the_text_for_them_and_others_do_not(house: House) -> None:
    version = offer(house, asking(again_title="Good to see you", again_text="We have your details."))
    assert "data-back" not in chat(house)
    assert send(house, version, MAIL).status_code == 200
    page = chat(house)
    assert "data-back" in page
    assert "Good to see you" in page
    newer = published_again(house, version)
    assert "data-back" in house.client.get(f"/chat/{house.webchat_id}/form/{newer}").text
    house.client.cookies.clear()
    assert "data-back" not in chat(house)


def published_again(house: House, version: FormVersion) -> int:
    """The number of the same form's next version."""

    def work(tx: Tx) -> int:
        form = actions.load_form(tx, house.business_id, version.form_id)
        return actions.publish_form(tx, house.business_id, form.id, form.revision, "Owner").number

    return house.context.db.write_now(work)


def test_the_builder_offers_it_for_contact_details_alone(house: House) -> None:
    form = content(question("q1", QuestionKind.EMAIL), question("q2", QuestionKind.NAME))
    ticked = {f"q:{key}:{name}": ["1"] for key in ("q1", "q2") for name in ("sent", "prefill")}
    assert [each.prefill for each in edit_content(form, ticked, "en").questions] == [True, False]
    unticked = {"q:q1:sent": ["1"]}
    assert not edit_content(asking(), unticked, "en").questions[0].prefill
