"""Journey: a detail that comes by the chat and by the form is one detail of one lead, with both origins."""

import re
import uuid

import pytest

from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from tests.forms.edges import offer, send
from tests.journeys.running import House, until

MAIL = {"q1": "mei@example.com"}


def say(house: House, text: str) -> None:
    """Write in the chat as its page does."""
    body = {"client_message_id": str(uuid.uuid4()), "text": text}
    answer = house.client.post(f"/chat/{house.webchat_id}/messages", json=body)
    assert answer.status_code == 200, answer.text


def origins_shown(house: House, value: str) -> tuple[int, list[str]]:
    """How many leads there are, and the ways by which the one lead's page says that a detail came."""
    found = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    page = house.client.get(f"/leads/{found[0].id}").text if found else ""
    points = re.findall(r'<li class="found-item">.*?</li>', page, re.S)
    return len(found), [_line_of(point) for point in points if value in point.lower()]


def _line_of(point: str) -> str:
    (line,) = re.findall(r'<p class="small muted">([^<]*)', point)
    return re.sub(r"\s+", " ", line)


@pytest.mark.parametrize("written", ["mei@example.com", "Mei@Example.COM", "ｍｅｉ＠ｅｘａｍｐｌｅ．ｃｏｍ"])
def test_an_address_of_the_chat_that_stands_in_the_form_too_is_one_detail_of_one_lead(
    house: House, written: str
) -> None:
    version = offer(house)
    house.client.get(f"/chat/{house.webchat_id}")
    say(house, f"Write to {written} please")
    house.sign_in()
    assert until(lambda: origins_shown(house, "mei@example.com")[0] == 1)
    assert send(house, version, MAIL).status_code == 200
    assert origins_shown(house, "mei@example.com") == (1, ["E-mail · Chat and Instant form · "])


def test_an_address_of_the_form_that_is_written_in_the_chat_too_is_one_detail_of_one_lead(
    house: House,
) -> None:
    assert send(house, offer(house), MAIL).status_code == 200
    say(house, "Did my address Mei@example.com arrive?")
    house.sign_in()
    both = (1, ["E-mail · Instant form and Chat · "])
    assert until(lambda: origins_shown(house, "mei@example.com") == both)
    assert origins_shown(house, "mei@example.com") == both
