"""Addresses in forms: what is typed, what is kept, and what a page makes a link of."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contatto.forms import actions
from contatto.kit.db.tx import Tx
from tests.forms.test_pages import make_form, save
from tests.journeys.running import House, running_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        yield running


SCRIPTS = ["javascript:alert(1)", "JaVaScript:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)",
           "\x01javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:x", "blob:x",
           "javascript:1//https://x.example.com", "file:///etc/passwd"]  # fmt: skip


SCRIPT_LINK = re.compile(r'(href|src|action)="\s*(?!https?:|mailto:|tel:)[\x00-\x20a-z\t]+:', re.IGNORECASE)


@pytest.mark.parametrize("field", ["policy_url", "end_url"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_draft_takes_no_address_that_runs_a_script(house: House, field: str, script: str) -> None:
    house.sign_in()
    builder = make_form(house)
    save(house, builder, **{field: "https://kopi.example.com/a"})
    answer = save(house, builder, **{field: script})
    for page in (builder, f"{builder}/test"):
        assert not re.search(
            r'(?i)(href|src|action)="\s*(?!https?:|mailto:|tel:)[a-z]+:', house.client.get(page).text
        )
    if "\t" not in script:  # a blank in it is kept, and then it is no script
        assert answer.status_code == 422
        assert "https://kopi.example.com/a" in house.client.get(builder).text
    assert save(house, builder, **{field: "kopi.example.com:8443"}).status_code == 303, "still being typed"


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_address_that_lies_in_a_form_already_is_not_shown_as_a_link(house: House, script: str) -> None:
    house.sign_in()
    builder = make_form(house)
    form_id = builder.rpartition("/")[2]

    def plant(tx: Tx) -> None:
        form = actions.load_form(tx, house.business_id, form_id)
        planted = replace(form.draft, policy_url=script, end_url=script)
        actions.save_draft(tx, form, planted, form.revision, "somebody")

    house.context.db.write_now(plant)
    for page in (builder, f"{builder}/test"):
        assert not SCRIPT_LINK.search(house.client.get(page).text)
