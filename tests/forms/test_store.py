"""What the tables of forms keep, on either database: drafts, frozen versions, sealed answers."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from contatto.forms import actions, store
from contatto.forms.model import Form, FormVerdict, FormVersion
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from tests import make
from tests.forms.papers import kitchen, published, respondent, sent, submit_form


@pytest.fixture
def business_id(database: Database) -> str:
    return database.write_now(make.business).id


def new_form(db: Database, business_id: str) -> Form:
    return db.write_now(lambda tx: actions.create_form(tx, business_id, "Quote"))


def test_a_draft_comes_back_as_it_was_saved(database: Database, business_id: str) -> None:
    form = new_form(database, business_id)
    wanted = replace(form, draft=kitchen(), name="Kitchen")
    database.write_now(lambda tx: actions.save_draft(tx, wanted, kitchen(), 1, "page-1"))
    found = database.read_now(lambda tx: actions.load_form(tx, business_id, form.id))
    assert (found.draft, found.name, found.revision, found.edited_by) == (kitchen(), "Kitchen", 2, "page-1")


def test_the_same_open_page_may_save_again_another_one_may_not(database: Database, business_id: str) -> None:
    form = new_form(database, business_id)

    def save(revision: int, editor: str) -> bool:
        try:
            database.write_now(lambda tx: actions.save_draft(tx, form, form.draft, revision, editor))
        except Refused as refused:
            if refused.code is not errors.CONFLICT:
                raise
            return False
        return True

    assert save(1, "page-1")
    assert save(1, "page-1")
    assert not save(1, "page-2")
    assert save(3, "page-2")
    assert not save(3, "page-1")


def test_the_newest_version_is_the_last_one_and_each_is_found_by_its_number(
    database: Database, business_id: str
) -> None:
    def work(tx: Tx) -> tuple[FormVersion, FormVersion]:
        first = published(tx, business_id)
        form = actions.load_form(tx, business_id, first.form_id)
        return first, actions.publish_form(tx, business_id, form.id, form.revision, "Owner")

    first, second = database.write_now(work)
    assert first.number != second.number
    default = {"channel_account_id": "account-1", "business_id": business_id, "form_id": first.form_id}
    database.write_now(lambda tx: tx.save(store.default_forms, default))
    assert database.read_now(lambda tx: actions.choose_form(tx, business_id, "account-1", "")) == second
    assert database.read_now(lambda tx: store.find_version(tx, business_id, first.number)) == first
    assert database.read_now(lambda tx: store.find_version(tx, "another", first.number)) is None


def test_answers_are_sealed_and_come_back_open(database: Database, business_id: str) -> None:
    def work(tx: Tx) -> str:
        version = published(tx, business_id)
        return submit_form(tx, version, respondent(business_id), sent(q1="mei@example.com")).id

    answer_id = database.write_now(work)
    raw = database.read_now(lambda tx: tx.scalar(select(store.form_answers.c.body)))
    assert b"mei@example.com" not in raw
    [answer] = database.read_now(lambda tx: store.list_answers_by_id(tx, business_id, [answer_id]))
    assert answer is not None
    assert [each.value for each in answer.answers] == ["mei@example.com"]
    assert database.read_now(lambda tx: store.list_answers_by_id(tx, "another", [answer_id])) == []


def test_answers_are_listed_page_by_page_without_a_gap(
    database: Database, business_id: str, clock: FixedClock
) -> None:
    version = database.write_now(lambda tx: published(tx, business_id))
    for number in range(7):
        if number % 2:
            clock.moment += timedelta(seconds=1)  # two share each moment
        who = respondent(business_id, person_id=f"p{number}")
        given = sent(f"submission-{number}", q1=f"m{number}@example.com")
        database.write_now(lambda tx, who=who, given=given: submit_form(tx, version, who, given))  # type: ignore[misc]
    seen: list[str] = []
    before = None
    while page := database.read_now(
        lambda tx, before=before: store.list_answers(tx, business_id, before, 2, form_id=version.form_id)  # type: ignore[misc]
    ):
        seen += [answer.id for answer in page]
        before = (page[-1].at, page[-1].id)
    assert len(seen) == len(set(seen)) == 7
    counts = database.read_now(lambda tx: store.count_answers(tx, business_id))
    assert counts == {version.form_id: {FormVerdict.TAKEN: 7}}


def test_the_default_form_of_an_account_is_the_business_s_own(database: Database, business_id: str) -> None:
    def work(tx: Tx) -> None:
        for owner, form_id in ((business_id, "form-1"), ("another", "form-2")):
            row = {"channel_account_id": "account-1", "business_id": owner, "form_id": form_id}
            tx.save(store.default_forms, row)

    database.write_now(work)
    mine = database.read_now(lambda tx: store.list_default_forms(tx, business_id))
    assert mine == {"account-1": "form-1"}
    database.write_now(lambda tx: tx.delete(store.default_forms, "another", channel_account_id="account-1"))
    assert database.read_now(lambda tx: store.list_default_forms(tx, business_id)) == mine
