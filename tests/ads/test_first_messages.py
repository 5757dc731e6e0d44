"""The first message of an ad's chat, chosen or written in the form of the ad."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ads.test_edits import edit, fields_of
from tests.ads.test_pages import post
from tests.journeys.running import House, running_house
from tests.unchanged import nothing_changes

NEW = {
    "name": "First", "headline": "Coffee?", "auto_message_id": "new", "welcome": "Hi! What <may> we do?",
    "questions": ["What is on the menu?", "", "Do you cater?"], "answers": ["Noodles", "", "Yes, from 10 on"],
}  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def make(house: House, **changes: Any) -> Any:
    group = house.make_ad("CONVERSATION")["adgroup_id"]
    return post(house, f"/ads/ad-groups/{group}/ads", **NEW | changes)


def test_a_message_that_is_written_in_the_form_opens_the_chat_and_can_be_chosen_again(house: House) -> None:
    made = make(house)
    assert made.status_code == 303, made.text
    preview = house.client.get(made.headers["location"]).text
    for part in ("Hi! What &lt;may&gt; we do?", "What is on the menu?", "Do you cater?"):
        assert part in preview
    number = re.findall(r"\d+", made.headers["location"])[0]
    path = f"/ads/ads/{number}/edit"
    page = house.client.get(path).text
    chosen = fields_of(page)["auto_message_id"]
    assert re.fullmatch(r"\d{10,}", chosen[0])
    assert f'<template data-message="{chosen[0]}"><p>Hi! What &lt;may&gt; we do?</p>' in page
    assert edit(house, path, auto_message_id="").status_code == 303
    assert "What is on the menu?" not in house.client.get(made.headers["location"]).text
    assert edit(house, path, auto_message_id=chosen[0]).status_code == 303
    assert "What is on the menu?" in house.client.get(made.headers["location"]).text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"welcome": " "}, "welcome-error"),
        ({"welcome": "x" * 201}, "welcome-error"),
        ({"questions": [], "answers": []}, "questions-error"),
        ({"answers": ["Noodles", "", ""]}, "questions-error"),
        ({"auto_message_id": "123"}, "auto_message_id-error"),
    ],
)
def test_a_message_that_cannot_be_is_refused_beside_its_field_and_no_ad_is_made(
    house: House, changes: dict[str, Any], error: str
) -> None:
    group = house.make_ad("CONVERSATION")["adgroup_id"]
    with nothing_changes(house.context.db):
        answer = post(house, f"/ads/ad-groups/{group}/ads", **NEW | changes)
    assert answer.status_code == 422
    assert f'id="{error}"' in answer.text
    assert 'value="What is on the menu?"' in answer.text or "questions" in changes
