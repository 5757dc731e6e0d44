"""New identities cost nothing, so what they send is limited by address; whoever is known goes on writing."""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from contatto.inbox.auth import MOST_A_MINUTE, MOST_AT_ONCE, limit_newcomers
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.ui.render import cookie_name
from tests.forms.edges import offer, opening_of
from tests.inbox.test_photos import picture
from tests.journeys.running import House, running_house
from tests.security.chats import Browser, neighbour_of, settled
from tests.unchanged import nothing_changes

MOST = 4


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url, new_visitors_per_hour=MOST) as running:
        yield running


def newcomer(house: House, address: str = "testclient") -> Browser:
    person = Browser(house, address=address)
    person.open_chat()
    return person


def is_slowed_down(answer: httpx2.Response) -> None:
    """It says what happened, what to do, and when to try again."""
    assert answer.status_code == 429
    assert answer.json()["code"] == "too_many"
    assert "network" in answer.json()["message"]
    assert answer.json()["remedy"] == "Wait a moment, then try again."
    assert 0 < int(answer.headers["retry-after"]) <= 3_601


def test_texts_of_new_visitors_are_limited_by_address(house: House) -> None:
    for number in range(MOST):
        assert newcomer(house).say(f"flood {number}").status_code == 200
    settled(house, MOST)
    with nothing_changes(house.context.db):
        for _ in range(20):
            is_slowed_down(newcomer(house).say("flood"))


def test_who_has_written_before_is_not_held_up_by_those_who_are_new(house: House) -> None:
    regular = newcomer(house)
    assert regular.say("Hello").status_code == 200
    settled(house)
    for _ in range(MOST + 3):
        newcomer(house).say("flood")
    assert regular.say("Are you there?").status_code == 200


def test_another_chat_of_another_business_is_not_held_up(house: House) -> None:
    for _ in range(MOST + 1):
        newcomer(house).say("flood")
    assert newcomer(neighbour_of(house)).say("Hello").status_code == 200


def test_photos_and_forms_of_new_visitors_share_the_limit(house: House) -> None:
    version = offer(house)
    for _ in range(MOST):
        assert newcomer(house).say("Hi").status_code == 200
    settled(house, MOST)
    chat = f"/chat/{house.webchat_id}"
    person = newcomer(house)
    cookie = person.cookies[cookie_name(house.webchat_id)]
    form = {"page_id": str(version.number), "opening": opening_of(house, version, cookie),
            "submission_id": "submission-1", "language": "en", "answers": {"q1": "mei@example.com"},
            "consents": ["c1"]}  # fmt: skip
    with nothing_changes(house.context.db):
        photo = newcomer(house).send(
            "POST", f"{chat}/photos", params={"client_message_id": str(uuid.uuid4())},
            content=picture(), headers={"content-type": "image/png"},
        )  # fmt: skip
        is_slowed_down(photo)
        is_slowed_down(person.send("POST", f"{chat}/form", json=form))
        assert person.send("POST", f"{chat}/form", json=form | {"opening": "x"}).status_code == 401


def test_a_subscriber_of_ipv6_is_one_address_however_many_they_use(house: House) -> None:
    def say(address: str) -> int:
        client = TestClient(house.client.app, base_url="http://127.0.0.1:8000", client=(address, 50_000))  # type: ignore[attr-defined]
        house.client.cookies.clear()
        person = Browser(House(**{**vars(house), "client": client}))
        person.open_chat()
        return person.say("flood").status_code

    same = [say(f"2001:db8:7:9::{number:x}") for number in range(1, MOST + 2)]
    assert same == [200] * MOST + [429]
    assert say("2001:db8:7:a::1") == 200
    assert say("198.51.100.7") == 200
    assert [say("::ffff:198.51.100.8") for _ in range(MOST)] == [200] * MOST
    assert say("198.51.100.8") == 429


def test_a_carrier_brings_thousands_of_new_people_and_a_stranger_no_flood(
    tmp_path: Path, database_url: str, clock: FixedClock
) -> None:
    """By default 2,000 new people an hour may come from one address, 500 of them at once."""
    with running_house(tmp_path, database_url=database_url) as house:
        limit = limit_newcomers(house.context.settings.new_visitors_per_hour)

        def come(count: int) -> int:
            """Return how many of so many people are admitted now."""

            def admit(tx: Tx) -> int:
                admitted = 0
                for _ in range(count):
                    with suppress(Refused):
                        limit.take(replace(tx, now=clock.now()), "account:203.0.113.7")
                        admitted += 1
                return admitted

            return house.context.db.write_now(admit)

        assert come(600) == MOST_AT_ONCE, "a flood ends after the first minutes"
        hour = 0
        for _ in range(60):
            clock.advance(seconds=60)
            hour += come(33)
        assert hour == 60 * 33, "people of a carrier who come evenly are all admitted"
        assert hour >= 10 * 100


def test_one_network_writes_no_more_than_so_much_in_a_minute_under_all_its_names(tmp_path: Path) -> None:
    with running_house(tmp_path) as house:
        _is_held_back_in_a_minute(house)


def _is_held_back_in_a_minute(house: House) -> None:
    most = MOST_A_MINUTE
    people = [newcomer(house) for _ in range(most // 35 + 1)]
    for person in people:
        person.say("Hello")
        settled(house, people.index(person) + 1)
    answers = [person.say("flood") for person in people for _ in range(35)]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * (most - len(people)) + [429] * (len(statuses) + len(people) - most)
    assert 0 < int(answers[-1].headers["retry-after"]) <= 61
