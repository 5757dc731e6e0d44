"""A sealed value that does not open: its page says so in its place, and all the rest is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Column, func, select
from structlog.testing import capture_logs

from contatto.inbox.actions.threads import keep_saved_reply
from contatto.inbox.store.conversations import messages, persons
from contatto.inbox.store.desk import private_notes, saved_replies
from contatto.kit.db.tx import Tx
from contatto.leads.store.tables import contact_points, evidence, lead_history, lead_notes, lead_tasks, leads
from tests.journeys.running import House, csrf_of, message, running_house, until

WORDS = "This value cannot be read"
PHONE, MAIL, NAME = "+6591234567", "mei@example.com", "name of u1"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def _fill(house: House) -> tuple[str, str]:
    """Give the ids of a lead and of its conversation, with a text in each place that a page shows."""
    for number, text in enumerate((f"Call me on {PHONE}", f"Or write to {MAIL}")):
        assert house.webhook("im_receive_msg", message(text, "u1", 1_795_000_000_000 + number)).is_success
    lead = until(lambda: house.context.db.read_now(lambda tx: tx.execute(select(leads)).mappings().first()))
    assert lead
    read_now = house.context.db.read_now
    assert until(lambda: read_now(lambda tx: tx.scalar(select(func.count(evidence.c.id))) == 2))
    forms = {
        f"/leads/{lead['id']}/notes": {"text": "Wants an oven"},
        f"/leads/{lead['id']}/tasks": {"text": "Send the offer"},
        f"/leads/{lead['id']}/labels": {"name": "Urgent"},
        f"/inbox/{lead['conversation_id']}/notes": {"text": "Asks for the price"},
    }
    token = csrf_of(house.client.get("/leads").text)
    for path, values in forms.items():
        assert house.client.post(path, data=values | {"csrf_token": token}).status_code == 200, path
    house.context.db.write_now(lambda tx: keep_saved_reply(tx, house.business_id, "hours", "Nine to six."))
    return lead["id"], lead["conversation_id"]


@contextmanager
def _damaged(house: House, column: Column[bytes]) -> Iterator[None]:
    """Change the last byte of the first value of a column for a while."""
    where = column == select(func.min(column)).where(column.is_not(None)).scalar_subquery()
    before = house.context.db.read_now(lambda tx: tx.scalar(select(func.min(column))))
    assert before, column
    bad = before[:-1] + bytes((before[-1] ^ 1,))

    def change(tx: Tx) -> None:
        assert tx.execute(column.table.update().where(where).values({column: bad})).rowcount == 1

    def mend(tx: Tx) -> None:
        tx.execute(column.table.update().where(column == bad).values({column: before}))

    house.context.db.write_now(change)
    yield
    house.context.db.write_now(mend)


def test_a_value_that_does_not_open_is_named_so_and_the_rest_of_its_page_is_shown(house: House) -> None:
    lead_id, conversation_id = _fill(house)
    lead, chat, center = f"/leads/{lead_id}", f"/inbox/{conversation_id}", "/leads"
    places: dict[Column[bytes], list[str]] = {
        contact_points.c.value: [lead, center],
        evidence.c.raw: [lead],
        leads.c.name: [lead, center],
        lead_history.c.detail: [lead],
        lead_notes.c.body: [lead],
        lead_tasks.c.body: [lead],
        messages.c.body: [chat],
        persons.c.name: [],  # the chat shows the name of the lead
        private_notes.c.text: [chat],
        saved_replies.c.text: ["/settings/replies"],
    }
    for column, paths in places.items():
        with _damaged(house, column), capture_logs() as lines:
            for path in (lead, center, chat, "/inbox", "/home", "/settings/replies"):
                page = house.client.get(path)
                assert page.status_code == 200, (column, path)
                if path in paths:
                    assert WORDS in page.text, (column, path)
        places_logged = {line["column"] for line in lines if line["event"] == "vault.unreadable"}
        assert places_logged == {str(column)}
        assert not any(text in str(lines) for text in (PHONE, MAIL, NAME, "oven", "offer", "price"))
        assert WORDS not in house.client.get(lead).text


def test_a_contact_detail_that_does_not_open_calls_nobody_and_leaves_no_installation(house: House) -> None:
    lead_id, _ = _fill(house)
    with _damaged(house, contact_points.c.value):
        page = house.client.get(f"/leads/{lead_id}").text
        assert f'href="tel:{WORDS}' not in page
        assert f'data-copy="{WORDS}' not in page
        italian = house.client.get(f"/leads/{lead_id}", headers={"Accept-Language": "it"}).text
        assert WORDS not in italian
        table = house.client.get("/leads.csv")
        assert WORDS not in table.text
        assert (PHONE in table.text) is not (MAIL in table.text)
