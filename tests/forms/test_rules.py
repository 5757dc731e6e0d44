"""The rules of forms: texts, logic, editing, publishing, and answers in normal form."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contatto.capture.model import Field
from contatto.capture.rules import detect_contacts
from contatto.forms.model import CONTACTS, Content, HiddenValue, Option, QuestionKind, Submission
from contatto.forms.rules import drafts
from contatto.forms.rules.answers import (
    UnreadableAnswer,
    accepted_languages,
    best_language,
    check_opening,
    check_submission,
    contacts_of,
    count_score,
    find_way,
    is_call,
    is_link,
    read_text,
    sign_opening,
    text_of,
)
from contatto.forms.rules.drafts import list_problems
from contatto.forms.rules.views import show_sheet
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.vault import Vault
from tests.forms.papers import content, kitchen, question, sent

KEY = Vault({"k": bytes(32)}).signer("openings")
CHANGES = st.sampled_from([
    "add:email", "add:choice", "add:nonsense", "up:q2", "down:q1", "remove:q1", "remove:q3", "add_option:q4",
    "remove_option:q4:a", "add_consent", "remove_consent:c1", "add_language:it", "remove_language:it",
    "remove_language:en", "publish", "", ":::",
])  # fmt: skip
ANSWERS = st.dictionaries(
    st.sampled_from([f"q{number}" for number in range(1, 11)] + ["q6.country", "zz"]),
    st.one_of(st.text(max_size=60), st.lists(st.sampled_from(["a", "b", "c", "<b>"]), max_size=4),
              st.sampled_from(["a", "b", "c", "d", "mei@example.com", "8123 4567", "SG", "7"])),
)  # fmt: skip

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def start() -> Content:
    return drafts.start_content("en", "https://kopi.example.com/privacy", "SG")


def values(of: Content, **answers: str | list[str]) -> dict[str, str]:
    return {each.key: each.value for each in check_submission(of, sent(**answers), {}, NOW).answers}


def problems(of: Content, **answers: str | list[str]) -> dict[str, str]:
    return {each.at: each.says for each in check_submission(of, sent(**answers), {}, NOW).problems}


def test_a_text_falls_back_to_the_first_language() -> None:
    assert text_of(kitchen(), "headline", "ar") == "اسألنا"
    assert text_of(kitchen(), "thanks_title", "ar") == "Thank you!"
    assert text_of(kitchen(), "headline", "ja") == "Ask us"


@pytest.mark.parametrize(("header", "language"), [
    ("ar-EG,ar;q=0.9,en;q=0.8", "ar"), ("de, en;q=0.3, ar;q=0.5", "ar"), ("de", "en"), ("", "en"),
    ("en;q=x, ar;q=0.1", "en"), ("\x00;;;q=,", "en"),
])  # fmt: skip
def test_the_sheet_speaks_the_language_that_the_browser_wants_most(header: str, language: str) -> None:
    assert best_language(kitchen(), accepted_languages(header)) == language


def test_a_jump_passes_over_questions_and_a_dependent_one_waits_for_its_answer() -> None:
    assert find_way(kitchen(), {}).met == ("q1", "q3", "q4", "q5", "q6", "q7", "q8", "q9")
    assert find_way(kitchen(), {"q1": "a"}).met[:3] == ("q1", "q2", "q3")
    assert find_way(kitchen(), {"q1": "b"}).met[:2] == ("q1", "q4")


def test_an_answer_can_end_the_form_or_show_that_it_does_not_fit() -> None:
    assert find_way(kitchen(), {"q1": "d"}) == find_way(kitchen(), {"q1": "d", "q5": "x"})
    assert find_way(kitchen(), {"q1": "d"}).met == ("q1",)
    assert not find_way(kitchen(), {"q1": "d"}).refused
    assert find_way(kitchen(), {"q1": "c"}).refused


def test_only_answers_to_questions_that_are_met_have_points() -> None:
    assert count_score(kitchen(), {"q1": "a", "q2": ["a", "b"]}) == 7
    assert count_score(kitchen(), {"q1": "b", "q2": ["a", "b"]}) == 2


def test_answers_typed_before_the_way_changed_are_not_taken() -> None:
    found = values(kitchen(), q1="b", q2=["a"], q3="7", q5="mei@example.com")
    assert set(found) == {"q1", "q5"}


@pytest.mark.parametrize(("typed", "value"), [
    ("8123 4567", "+6581234567"), ("+65 8123-4567", "+6581234567"), ("٨١٢٣٤٥٦٧", "+6581234567"),
    ("+1 415 555 2671", "+14155552671"),
])  # fmt: skip
def test_a_phone_number_is_read_in_its_country(typed: str, value: str) -> None:
    assert values(kitchen(), q1="b", q5="a@example.com", q6=typed)["q6"] == value


def test_the_person_may_pick_another_country_for_the_number() -> None:
    found = values(
        kitchen(), **{"q1": "b", "q5": "a@example.com", "q6": "0812 3456 7890", "q6.country": "ID"}
    )
    assert found["q6"] == "+6281234567890"


@pytest.mark.parametrize("region", ["SG", "ID", "TH", "VN", "BR", "MX", "JP", "AE", "NG", "IT"])
def test_every_market_s_own_way_of_writing_a_number_is_read(region: str) -> None:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    asked = question("q1", QuestionKind.PHONE, country=region)
    whole = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    for style in (phonenumbers.PhoneNumberFormat.NATIONAL, phonenumbers.PhoneNumberFormat.INTERNATIONAL):
        assert read_text(asked, phonenumbers.format_number(example, style))[1] == whole


@pytest.mark.parametrize(("kind", "typed", "chat"), [
    (QuestionKind.EMAIL, "Mei.Tan@Example.COM", "Mei.Tan@Example.COM"),
    (QuestionKind.INSTAGRAM, "@Mei_Tan", "instagram: @Mei_Tan"),
    (QuestionKind.INSTAGRAM, "https://instagram.com/mei_tan", "https://instagram.com/mei_tan"),
    (QuestionKind.WHATSAPP, "8123 4567", "WhatsApp: 8123 4567"),
    (QuestionKind.WECHAT, "mei_tan99", "wechat: mei_tan99"),
    (QuestionKind.LINKEDIN, "https://linkedin.com/in/mei-tan", "https://linkedin.com/in/mei-tan"),
])  # fmt: skip
def test_the_form_gives_the_same_normal_form_as_the_chat(kind: QuestionKind, typed: str, chat: str) -> None:
    (match,) = detect_contacts(chat, "SG")
    assert match.field is CONTACTS[kind]
    assert read_text(question("q1", kind, country="SG"), typed)[1] == match.value


@pytest.mark.parametrize(("kind", "typed"), [
    (QuestionKind.EMAIL, "mei"), (QuestionKind.EMAIL, "a@b"), (QuestionKind.EMAIL, "a b@example.com"),
    (QuestionKind.EMAIL, "<a>@example.com"),
    (QuestionKind.PHONE, "12"), (QuestionKind.PHONE, "call me"), (QuestionKind.INSTAGRAM, "mei tan"),
    (QuestionKind.INSTAGRAM, "<script>"),
    (QuestionKind.DATE, "2026-02-30"), (QuestionKind.DATE, "9999-12-31"), (QuestionKind.NUMBER, "7.5"),
    (QuestionKind.NUMBER, "1e9"),
    (QuestionKind.COUNTRY, "XX"), (QuestionKind.COUNTRY, "sg"), (QuestionKind.POSTCODE, "<1>"),
])  # fmt: skip
def test_what_does_not_fit_its_question_is_refused(kind: QuestionKind, typed: str) -> None:
    with pytest.raises(UnreadableAnswer):
        read_text(question("q1", kind, country="SG"), typed)


def test_bounds_hold() -> None:
    number = question("q1", QuestionKind.NUMBER, low=1, high=30)
    assert read_text(number, "30")[1] == "30"
    for typed in ("0", "31", "-5"):
        with pytest.raises(UnreadableAnswer):
            read_text(number, typed)
    text = question("q1", QuestionKind.TEXT, low=3, high=5)
    assert read_text(text, "abc")[1] == "abc"
    for typed in ("ab", "abcdef"):
        with pytest.raises(UnreadableAnswer):
            read_text(text, typed)


def test_a_required_answer_and_a_required_consent_are_missed_an_optional_one_is_not() -> None:
    assert set(problems(kitchen(), q1="b")) == {"q5", "c1"}
    assert set(problems(kitchen())) == {"q1", "q5", "c1"}


def test_a_question_s_own_message_stands_beside_it() -> None:
    words = {"en": {**content().words["en"], "q1.message": "We need your mail."}}
    assert problems(content(words=words), q1="nonsense") == {"q1": "We need your mail."}


def test_an_option_that_is_not_there_is_no_answer() -> None:
    assert "q1" in problems(kitchen(), q1="z")
    assert "q1" in problems(kitchen(), q1=["<script>"])


def test_hidden_fields_come_from_us_and_never_from_the_browser() -> None:
    told = Submission("submission-1", "en", {"q1": "b", "q5": "a@example.com", "q9": "forged"})
    checked = check_submission(kitchen(), told, {HiddenValue.AD: "Oak"}, NOW)
    found = {each.key: each.value for each in checked.answers}
    assert found["q9"] == "Oak"
    assert "q9" not in values(kitchen(), q1="b", q5="a@example.com", q9="forged")


def test_contact_details_carry_their_question_as_evidence() -> None:
    checked = check_submission(
        kitchen(), sent(q1="b", q4="Mei Tan", q5="mei@example.com", q6="8123 4567"), {}, NOW
    )
    matches = contacts_of(checked.answers)
    assert [(each.field, each.value, each.rule) for each in matches] == [
        (Field.EMAIL, "mei@example.com", "form.q5"),
        (Field.PHONE, "+6581234567", "form.q6"),
    ]
    names = [each.value for each in checked.answers if each.kind is QuestionKind.NAME]
    assert names == ["Mei Tan"]


@settings(suppress_health_check=[HealthCheck.too_slow])  # its first text takes long to draw
@given(answers=ANSWERS, consents=st.lists(st.sampled_from(["c1", "c2", "c9", ""]), max_size=5))
def test_whatever_is_sent_every_question_that_is_met_is_answered_or_named(
    answers: dict[str, str | list[str]], consents: list[str]
) -> None:
    form = kitchen()
    checked = check_submission(
        form, Submission("s", "en", answers, tuple(consents)), {HiddenValue.AD: "Oak"}, NOW
    )
    met = set(find_way(form, answers).met)
    answered = {each.key for each in checked.answers}
    named = {each.at for each in checked.problems}
    assert answered <= met
    assert not answered & named
    for each in form.questions:
        if each.required and each.key in met:
            assert each.key in answered | named
    for answer in checked.answers:
        assert answer.value
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", answer.value + answer.shown)


@given(st.text(max_size=80))
def test_a_contact_detail_that_is_taken_is_taken_again_alike(text: str) -> None:
    for kind in CONTACTS:
        asked = question("q1", kind, country="SG")
        try:
            value = read_text(asked, text.strip())[1]
        except UnreadableAnswer:
            continue
        assert read_text(asked, value)[1] == value


def test_a_form_to_begin_with_lacks_nothing() -> None:
    assert list_problems(start()) == []


@pytest.mark.parametrize(("change", "at"), [
    ({"policy_url": ""}, "policy_url"), ({"policy_url": "http://kopi.example.com"}, "policy_url"),
    ({"policy_url": "javascript:alert(1)"}, "policy_url"), ({"end_url": "javascript:alert(1)"}, "end_url"),
    ({"end_phone": "12"}, "end_phone"),
    ({"words": {"en": {"q1.label": "x", "thanks_title": "x"}}}, "headline"),
    ({"words": {"en": {"q1.label": "x", "headline": "x"}}}, "thanks_title"),
    ({"words": {"en": {"headline": "x", "thanks_title": "x"}}}, "q1"),
    ({"questions": ()}, "questions"),
    ({"questions": (question("q1", QuestionKind.NAME, required=True),)}, "questions"),
    ({"questions": (question("q1", QuestionKind.EMAIL),)}, "q1"),
])  # fmt: skip
def test_each_thing_that_is_missing_names_its_place(change: dict[str, object], at: str) -> None:
    assert [each.at for each in list_problems(content(**change))] == [at]


def test_logic_that_leads_nowhere_cannot_be_published() -> None:
    back = question("q2", QuestionKind.CHOICE, options=(Option("a", goto="q1"), Option("b")))
    alone = question("q3", QuestionKind.TEXT, show_if="q9", show_value="a")
    first = question("q1", QuestionKind.EMAIL, required=True)
    assert [each.at for each in list_problems(content(first, back, alone))] == ["q2", "q3"]
    assert list_problems(kitchen()) == []


@pytest.mark.parametrize(("text", "fits"), [
    ("https://example.com/a?b=c", True), ("http://example.com", False), ("https://user@example.com", False),
    ("https://localhost", False), ("javascript:alert(1)", False), ("https://exa mple.com", False),
    ("https://[", False), ("data:text/html,x", False),
])  # fmt: skip
def test_a_link_is_whole_and_https(text: str, fits: bool) -> None:
    assert is_link(text) is fits


@pytest.mark.parametrize(("text", "may"), [
    ("", True), ("h", True), ("https:", True), ("http://x", True), ("example.com:8443/a", True),
    ("a b: c", True), ("javascript:", False), ("JAVASCRIPT:x", False), ("data:x", False), ("x-y+z:1", False),
    ("tel:+65", False),
])  # fmt: skip
def test_while_it_is_typed_a_link_names_no_other_scheme(text: str, may: bool) -> None:
    if may:
        assert drafts.edit_content(kitchen(), {"end_url": [text]}, "en").end_url == text
    else:
        with pytest.raises(Refused, match="end_url"):
            drafts.edit_content(kitchen(), {"end_url": [text]}, "en")


def test_a_number_to_call_has_its_country() -> None:
    assert is_call("+65 6123 4567")
    assert not is_call("6123 4567")


@given(st.lists(CHANGES, max_size=25))
def test_whatever_buttons_are_pressed_the_draft_stays_whole(pressed: list[str]) -> None:
    now = start()
    for change in pressed:
        before, now = now, drafts.change_content(now, change)
        keys = [each.key for each in now.questions]
        assert len(set(keys)) == len(keys) <= drafts.MOST_QUESTIONS
        assert now.languages[0] == "en"
        assert now.made >= before.made
        if change.startswith(("up:", "down:")):
            assert sorted(keys) == sorted(each.key for each in before.questions)
    assert msgspec.json.decode(msgspec.json.encode(now), type=Content) == now
    assert show_sheet(now, "en", 1, "", NOW)["number"] == "1"


def test_a_key_is_never_given_twice() -> None:
    once = drafts.change_content(start(), "add:text")
    twice = drafts.change_content(drafts.change_content(once, "remove:q4"), "add:number")
    assert [each.key for each in twice.questions] == ["q1", "q2", "q3", "q5"]


@given(st.dictionaries(
    st.sampled_from([*(f"w:{key}" for key in drafts.text_limits(kitchen())), "q:q1:sent", "q:q1:a:score",
                     "q:q1:b:goto", "q:q2:show", "q:q2:sent", "q:q3:low", "q:q6:country", "policy_url",
                     "review:sent", "review", "c:c1:sent", "q:q9:source"]),
    st.lists(st.text(max_size=40), min_size=1, max_size=2),
))  # fmt: skip
def test_whatever_is_typed_the_draft_stays_readable_and_within_its_limits(
    typed: dict[str, list[str]],
) -> None:
    edited, refused = kitchen(), None
    try:
        edited = drafts.edit_content(edited, typed, "en")
    except Refused as error:
        refused = error
    if refused is not None:  # what is no number, or no address, is said of its field
        assert refused.code is errors.INVALID
        assert refused.values["field"] in typed
        return
    limits = drafts.text_limits(edited)
    assert all(len(text) <= limits[key] for key, text in edited.words["en"].items())
    assert msgspec.json.decode(msgspec.json.encode(edited), type=Content) == edited
    assert drafts.edit_content(edited, typed, "en") == edited


def test_editing_one_language_leaves_the_other_as_it_is() -> None:
    edited = drafts.edit_content(kitchen(), {"w:headline": ["جديد"]}, "ar")
    assert edited.words["ar"]["headline"] == "جديد"
    assert edited.words["en"] == kitchen().words["en"]


def test_an_unticked_box_is_off_only_where_its_form_was_sent() -> None:
    asked = content(review=True)
    assert drafts.edit_content(asked, {}, "en") == asked
    off = drafts.edit_content(asked, {"review:sent": ["1"], "q:q1:sent": ["1"]}, "en")
    assert (off.review, off.questions[0].required) == (False, False)


def test_an_opening_is_of_one_person_and_one_form_and_not_of_this_very_moment() -> None:
    opening = sign_opening(7, "visitor", 1_000, KEY)
    check_opening(opening, 7, "visitor", 1_002, KEY)
    with pytest.raises(Refused) as fast:
        check_opening(opening, 7, "visitor", 1_000.5, KEY)
    assert (fast.value.code, fast.value.retry_after_s) == (errors.TOO_MANY, 2)
    for token, number, visitor in (
        (opening, 8, "visitor"), (opening, 7, "other"), ("900" + opening[4:], 7, "visitor"),
        ("", 7, "visitor"), ("é.x", 7, "visitor"),
    ):  # fmt: skip
        with pytest.raises(Refused) as forged:
            check_opening(token, number, visitor, 2_000, KEY)
        assert forged.value.code is errors.UNSIGNED


def test_the_sheet_shows_no_hidden_question_and_holds_the_logic_of_all() -> None:
    shown = show_sheet(kitchen(), "ar", 7, "opening", NOW)
    assert "q9" not in [each["key"] for each in shown["questions"]]
    assert [each["key"] for each in msgspec.json.decode(shown["logic"])][-1] == "q9"
    assert (shown["dir"], shown["headline"]) == ("rtl", "اسألنا")


def test_a_form_without_a_phone_number_does_not_carry_the_calling_codes() -> None:
    assert show_sheet(content(), "en", 7, "", NOW)["regions"] == ""
    phone = replace(content(), questions=(question("q1", QuestionKind.PHONE),))
    assert "SG+65" in show_sheet(phone, "en", 7, "", NOW)["regions"]
