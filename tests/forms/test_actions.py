"""Editing, publishing and submitting forms, on either database."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from contatto.capture.model import Field
from contatto.channels.model import Platform
from contatto.forms import actions, store
from contatto.forms.model import Form, FormAnswer, FormVerdict, FormVersion, QuestionKind, Submission
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbox import list_events
from contatto.leads.actions.records import upsert_leads
from contatto.leads.model import Lead, Origin
from contatto.leads.store import listing
from contatto.leads.store import records as leads
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import find_attribution
from tests import make
from tests.forms.papers import content, kitchen, published, question, respondent, sent, submit_form
from tests.make import record_touch
from tests.unchanged import nothing_changes

WHOLE: dict[str, str | list[str]] = {
    "q1": "a",
    "q2": ["b"],
    "q4": "Mei Tan",
    "q5": "mei@example.com",
    "q6": "8123 4567",
    "q8": "Soon?",
}


@pytest.fixture
def business_id(database: Database) -> str:
    return database.write_now(make.business).id


@pytest.fixture
def version(database: Database, business_id: str) -> FormVersion:
    return database.write_now(lambda tx: published(tx, business_id, kitchen()))


def submit(db: Database, version: FormVersion, given: Submission | None = None, **changes: Any) -> FormAnswer:
    what = given or Submission("submission-1", "en", WHOLE, ("c1",))
    who = respondent(version.business_id, **changes)
    return db.write_now(lambda tx: submit_form(tx, version, who, what))


def lead_of(db: Database, business_id: str, person_id: str = "p1") -> Lead | None:
    return db.read_now(lambda tx: leads.find_lead_of_person(tx, business_id, person_id))


def points(db: Database, lead: Lead) -> list[tuple[Field, str, Origin]]:
    found = db.read_now(lambda tx: listing.list_contact_points(tx, lead.business_id, {lead.id}))[lead.id]
    return sorted((each.field, each.value, each.origin) for each in found)


def test_a_new_form_takes_the_privacy_policy_that_the_business_gave(
    database: Database, business_id: str
) -> None:
    database.write_now(lambda tx: make.channel(tx, business_id, Platform.WEBCHAT))
    form = database.write_now(lambda tx: actions.create_form(tx, business_id, "  Quote \n form ", "it", "SG"))
    assert form.name == "Quote form"
    assert form.draft.policy_url == make.COMPANY.privacy_policy_url
    assert form.draft.languages == ("it",)


@pytest.mark.parametrize(("name", "language"), [("", "en"), (" \x00", "en"), ("x" * 121, "en"), ("x", "tlh")])
def test_a_form_without_a_name_or_a_language_is_not_made(
    database: Database, business_id: str, name: str, language: str
) -> None:
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: actions.create_form(tx, business_id, name, language))
    assert refused.value.code is errors.INVALID
    assert database.read_now(lambda tx: store.list_forms(tx, business_id)) == []


def test_the_second_editor_is_told_and_the_first_one_s_draft_stays(
    database: Database, business_id: str
) -> None:
    form = database.write_now(lambda tx: actions.create_form(tx, business_id, "Quote"))
    save = actions.save_draft
    database.write_now(lambda tx: save(tx, replace(form, name="First"), form.draft, form.revision, "page-1"))
    with pytest.raises(Refused) as refused:
        database.write_now(
            lambda tx: save(tx, replace(form, name="Second"), form.draft, form.revision, "page-2")
        )
    assert refused.value.code is errors.CONFLICT
    assert database.read_now(lambda tx: actions.load_form(tx, business_id, form.id)).name == "First"


def test_a_version_is_frozen_while_the_draft_goes_on(database: Database, business_id: str) -> None:
    first = database.write_now(lambda tx: published(tx, business_id, kitchen()))

    def edit(tx: Tx) -> Form:
        form = actions.load_form(tx, business_id, first.form_id)
        return actions.save_draft(tx, form, content(), form.revision, "page-1")

    database.write_now(edit)
    found = database.read_now(lambda tx: store.find_version(tx, business_id, first.number))
    assert found == first
    assert found.content == kitchen()


def test_what_lacks_something_is_not_published_and_changes_nothing(
    database: Database, business_id: str
) -> None:
    form = database.write_now(lambda tx: actions.create_form(tx, business_id, "Quote"))  # no policy yet
    with nothing_changes(database), pytest.raises(Refused) as refused:
        database.write_now(lambda tx: actions.publish_form(tx, business_id, form.id, form.revision, "Owner"))
    assert refused.value.detail.startswith("policy_url: ")


def test_only_what_was_seen_is_published(database: Database, business_id: str) -> None:
    def work(tx: Tx) -> Form:
        form = actions.create_form(tx, business_id, "Quote")
        return actions.save_draft(tx, form, content(), form.revision, "page-1")

    form = database.write_now(work)
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: actions.publish_form(tx, business_id, form.id, 1, "Owner"))
    assert refused.value.code is errors.CONFLICT


def test_a_form_makes_one_lead_with_its_details_name_and_conversion(
    database: Database, business_id: str, version: FormVersion
) -> None:
    ad = database.write_now(lambda tx: make.published_ad(tx, business_id))
    database.write_now(lambda tx: record_touch(tx, make.touch(ad)))
    answer = submit(database, version, ad_id=ad.ad_id)
    lead = lead_of(database, business_id)
    assert lead is not None
    assert (lead.name, lead.origin, answer.lead_id, answer.score) == ("Mei Tan", Origin.FORM, lead.id, 6)
    assert points(database, lead) == [
        (Field.EMAIL, "mei@example.com", Origin.FORM),
        (Field.PHONE, "+6581234567", Origin.FORM),
    ]
    earned = database.read_now(lambda tx: find_attribution(tx, business_id, lead.id, ConversionKind.LEAD))
    assert earned is not None
    assert earned.ad_id == ad.ad_id
    names = [
        event.name for event in database.read_now(lambda tx: list_events(tx, 0, business_id=business_id))
    ]
    assert names == ["lead_captured", "form_submitted"]


def test_what_the_chat_gave_before_is_one_lead_with_both_origins(
    database: Database, business_id: str, version: FormVersion
) -> None:
    said = make.signal(business_id, make.contact("+6581234567"))
    chat_lead = database.write_now(lambda tx: upsert_leads(tx, [said])[0])
    assert chat_lead is not None
    answer = submit(database, version)
    assert answer.lead_id == chat_lead.id
    assert points(database, chat_lead) == [
        (Field.EMAIL, "mei@example.com", Origin.FORM),
        (Field.PHONE, "+6581234567", Origin.CHAT),
    ]
    proofs = database.read_now(lambda tx: leads.list_evidence_of_lead(tx, business_id, chat_lead.id))
    assert {each.origin for each in proofs if each.rule in ("test.rule", "form.q6")} == {
        Origin.CHAT,
        Origin.FORM,
    }
    assert lead_of(database, business_id) is not None


def test_the_same_submission_again_gives_the_same_answer_and_changes_nothing(
    database: Database, version: FormVersion
) -> None:
    first = submit(database, version)
    other = Submission("submission-1", "en", WHOLE | {"q5": "other@example.com"}, ())
    with nothing_changes(database):
        assert submit(database, version) == first
        assert submit(database, version, other) == first


def test_two_clicks_at_the_same_time_are_one_answer(database: Database, version: FormVersion) -> None:
    ready = threading.Barrier(4)

    def click(_number: int) -> FormAnswer:
        ready.wait()
        return submit(database, version)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(click, range(4)))
    assert len({answer.id for answer in answers}) == 1
    counts = database.read_now(lambda tx: store.count_answers(tx, version.business_id))
    assert counts == {version.form_id: {FormVerdict.TAKEN: 1}}


def test_only_who_sent_a_form_that_was_taken_has_sent_it(
    database: Database, business_id: str, version: FormVersion
) -> None:
    def who_sent(business: str, *form_ids: str) -> set[tuple[str, str]]:
        people = ["p1", "p2", "p3"]
        return database.read_now(lambda tx: store.list_who_sent(tx, business, form_ids, people))

    submit(database, version)
    submit(database, version, Submission("submission-2", "en", {"q1": "c"}), person_id="p2")
    assert who_sent(business_id, version.form_id, "another") == {(version.form_id, "p1")}
    assert who_sent("another", version.form_id) == who_sent(business_id, "another") == set()


def test_another_form_of_a_person_who_is_known_adds_to_their_lead(
    database: Database, business_id: str, version: FormVersion
) -> None:
    first = submit(database, version)
    second = submit(database, version, Submission("submission-2", "en", WHOLE, ("c1",)))
    assert second.id != first.id
    assert second.lead_id == first.lead_id
    counts = database.read_now(lambda tx: store.count_answers(tx, business_id))
    assert counts == {version.form_id: {FormVerdict.TAKEN: 2}}


def test_a_known_address_of_another_person_is_neither_dropped_nor_taken_for_theirs(
    database: Database, business_id: str, version: FormVersion
) -> None:
    first = submit(database, version)
    second = submit(database, version, person_id="p2", conversation_id="conversation-2")
    assert second.lead_id != first.lead_id
    twin = database.read_now(lambda tx: listing.list_twins(tx, business_id, first.lead_id))
    assert [each.id for each in twin] == [second.lead_id]


def test_each_consent_leaves_a_receipt_of_its_very_text(database: Database, version: FormVersion) -> None:
    answer = submit(database, version, Submission("submission-1", "ar", WHOLE, ("c1",)))
    receipts = database.read_now(lambda tx: store.list_receipts(tx, version.business_id, {answer.id}))
    shown = [(each.purpose, each.given, each.text, each.language) for each in receipts[answer.id]]
    # the second text has no Arabic yet, so the person saw it in English
    assert shown == [("c1", True, "تواصلوا معي.", "ar"), ("c2", False, "Send me news.", "ar")]
    assert receipts[answer.id][0].text_hash == hashlib.sha256("تواصلوا معي.".encode()).hexdigest()
    assert {each.at for each in receipts[answer.id]} == {answer.at}


def test_a_submission_that_lacks_something_leaves_no_row(database: Database, version: FormVersion) -> None:
    with nothing_changes(database), pytest.raises(actions.Unanswered) as unanswered:
        submit(database, version, sent(q1="a", q5="nonsense"))
    assert {each.at for each in unanswered.value.problems} == {"q5", "c1"}


@pytest.mark.parametrize(("given", "verdict"), [
    (Submission("submission-1", "en", WHOLE | {"q1": "c"}, ("c1",)), FormVerdict.NO_FIT),
    (Submission("submission-1", "en", WHOLE, ("c1",), website="https://spam.example"), FormVerdict.SPAM),
])  # fmt: skip
def test_of_what_does_not_fit_and_of_programs_only_a_count_is_kept(
    database: Database, business_id: str, version: FormVersion, given: Submission, verdict: FormVerdict
) -> None:
    answer = submit(database, version, given)
    assert (answer.verdict, answer.answers, answer.lead_id, answer.score) == (verdict, (), "", 0)
    assert lead_of(database, business_id) is None
    assert database.read_now(lambda tx: store.list_answers(tx, business_id, form_id=version.form_id)) == []
    assert database.read_now(lambda tx: store.count_answers(tx, business_id)) == {
        version.form_id: {verdict: 1}
    }
    assert database.read_now(lambda tx: store.list_receipts(tx, business_id, {answer.id})) == {}


def test_a_form_whose_contact_question_was_passed_over_makes_no_lead(
    database: Database, business_id: str
) -> None:
    hidden = question("q2", QuestionKind.EMAIL, required=True, show_if="q1", show_value="a")
    asked = content(question("q1", QuestionKind.CHOICE, options=kitchen().questions[0].options[:2]), hidden)
    asked = replace(asked, questions=(replace(asked.questions[0], options=(
        *(replace(each, goto="") for each in asked.questions[0].options),)), hidden))  # fmt: skip
    version = database.write_now(lambda tx: published(tx, business_id, asked))
    answer = submit(database, version, sent(q1="b"))
    assert (answer.verdict, answer.lead_id) == (FormVerdict.TAKEN, "")
    assert lead_of(database, business_id) is None


def test_the_ad_s_version_comes_before_the_account_s_default_and_a_strange_id_is_none(
    database: Database, business_id: str, version: FormVersion
) -> None:
    account = database.write_now(lambda tx: make.channel(tx, business_id, Platform.WEBCHAT))
    other = database.write_now(lambda tx: published(tx, business_id))

    def choose(page_id: str, owner: str = business_id) -> FormVersion | None:
        return database.read_now(lambda tx: actions.choose_form(tx, owner, account.id, page_id))

    assert choose("") is None
    database.write_now(lambda tx: actions.set_default_form(tx, business_id, account.id, other.form_id))
    assert choose("") == other
    assert choose(str(version.number)) == version
    for strange in ("7400000000000000001", "9" * 19, "x", "-1", "1 2", "٣"):
        assert choose(strange) == other
    assert choose(str(version.number), "another") is None
    database.write_now(lambda tx: actions.set_default_form(tx, business_id, account.id, None))
    assert choose("") is None


def test_the_default_follows_the_newest_version(
    database: Database, business_id: str, version: FormVersion
) -> None:
    account = database.write_now(lambda tx: make.channel(tx, business_id, Platform.WEBCHAT))

    def work(tx: Tx) -> FormVersion:
        actions.set_default_form(tx, business_id, account.id, version.form_id)
        form = actions.load_form(tx, business_id, version.form_id)
        return actions.publish_form(tx, business_id, form.id, form.revision, "Owner")

    second = database.write_now(work)
    assert database.read_now(lambda tx: actions.choose_form(tx, business_id, account.id, "")) == second


def test_a_form_that_was_never_published_cannot_be_a_default(database: Database, business_id: str) -> None:
    account = database.write_now(lambda tx: make.channel(tx, business_id, Platform.WEBCHAT))
    form = database.write_now(lambda tx: actions.create_form(tx, business_id, "Quote"))
    for account_id, form_id, code in (
        (account.id, form.id, errors.INVALID),
        ("another", form.id, errors.NOT_FOUND),
        (account.id, "another", errors.NOT_FOUND),
    ):
        with pytest.raises(Refused) as refused:
            database.write_now(
                lambda tx, a=account_id, f=form_id: actions.set_default_form(tx, business_id, a, f)  # type: ignore[misc]
            )
        assert refused.value.code is code
