"""The builder, the answers and the customer's sheet through the running app."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from contatto.accounts.store import businesses
from contatto.audit import list_audit_entries, read_seen
from contatto.forms import actions, store
from contatto.forms.model import Content, Option, QuestionKind
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from contatto.measurement.store import list_measured_ads
from tests.forms.edges import offer, opened, post, send
from tests.forms.papers import content, kitchen, published, question
from tests.journeys.running import House, csrf_of, running_house, until
from tests.unchanged import nothing_changes

MAIL = {"q1": "mei@example.com"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        yield running


def make_form(house: House, name: str = "Quote") -> str:
    """Make a form by its page; give the address of its builder."""
    answer = post(house, "/forms", "/forms/new", name=name, language="en")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def fields(page: str) -> dict[str, str]:
    """What the builder would send as it is: the hidden fields, the ticked boxes and the name."""
    found = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    ticked = re.findall(r'<input type="checkbox" name="([^"]+)" value="1" checked>', page)
    return found | dict.fromkeys(ticked, "1") | {"name": "Quote"}


def save(house: House, builder: str, **changes: Any) -> Any:
    typed = fields(house.client.get(builder).text) | changes
    return house.client.post(f"{builder}/draft", data=typed, follow_redirects=False)


def test_every_page_of_forms_asks_to_sign_in(house: House) -> None:
    for path in ("/forms", "/forms/new", "/forms/x", "/forms/x/test", "/forms/x/answers", "/leads/x/answers"):
        assert house.client.get(path, follow_redirects=False).headers["location"].startswith("/login")


def test_without_a_form_the_page_says_what_to_do(house: House) -> None:
    house.sign_in()
    assert "No forms yet" in house.client.get("/forms").text
    assert "No forms yet" not in house.client.get("/forms/new").text


def test_a_form_is_made_edited_published_and_shown_in_the_chat(house: House) -> None:
    house.sign_in()
    builder = make_form(house)
    assert save(house, builder, **{"w:headline": "Free tasting?"}).status_code == 303
    assert save(house, builder, do="add:choice").status_code == 303
    assert "Choose one" in house.client.get(builder).text
    assert "Free tasting?" in house.client.get(f"{builder}/test").text
    assert save(house, builder, do="publish").status_code == 303
    page = house.client.get(builder).text
    assert "Publish version 2" in page
    assert ("Form ID" in page, "page_id" in page) == (True, False)
    form_id = builder.removeprefix("/forms/")
    assert "form-open" not in house.client.get(f"/chat/{house.webchat_id}").text
    assert post(house, f"/forms/defaults/{house.webchat_id}", "/forms", form_id=form_id).status_code == 303
    chat = house.client.get(f"/chat/{house.webchat_id}").text
    [button] = re.findall(r'<button[^>]*id="form-open".*?</button>', chat, re.DOTALL)
    assert '<span class="clip" lang="en" dir="ltr">Free tasting?</span>' in button
    assert "dm__form-language" not in button
    assert "This form has one language." in page
    arabic = house.client.get(f"/chat/{house.webchat_id}", headers={"Accept-Language": "ar"}).text
    [button] = re.findall(r'<button[^>]*id="form-open".*?</button>', arabic, re.DOTALL)
    assert "English" in button.partition("dm__form-language")[2]


def test_what_is_missing_is_listed_and_what_was_typed_is_kept(house: House) -> None:
    house.sign_in()
    builder = make_form(house)
    answer = save(house, builder, do="publish", policy_url="", **{"w:intro": "kept"})
    assert answer.status_code == 303
    page = house.client.get(builder).text
    assert "Give the full https address of your privacy policy." in page
    assert "kept" in page
    assert "Publish version 1" in page


def test_the_second_editor_is_told_with_nothing_overwritten(house: House) -> None:
    house.sign_in()
    builder = make_form(house)
    mine, theirs = (fields(house.client.get(builder).text) for _ in range(2))
    first = house.client.post(
        f"{builder}/draft", data=theirs | {"w:headline": "Theirs"}, follow_redirects=False
    )
    assert first.status_code == 303
    told = house.client.post(f"{builder}/draft", data=mine | {"w:headline": "Mine"})
    assert told.status_code == 409
    assert "Somebody else changed this form in the meantime" in told.text
    assert "Theirs" in house.client.get(builder).text


def test_each_button_of_the_builder_does_its_change(house: House) -> None:
    house.sign_in()
    builder = make_form(house)
    for change in ("add:choices", "up:q4", "add_option:q4", "remove:q3", "add_consent", "add_language:ar"):
        assert save(house, builder, do=change).status_code == 303
    form = house.context.db.read_now(
        lambda tx: actions.load_form(tx, house.business_id, builder.removeprefix("/forms/"))
    )
    assert [each.key for each in form.draft.questions] == ["q1", "q2", "q4"]
    assert len(form.draft.questions[2].options) == 3
    assert (len(form.draft.consents), form.draft.languages) == (1, ("en", "ar"))
    assert "Empty texts are shown in English" in house.client.get(f"{builder}?lang=ar").text


def test_a_time_is_chosen_of_those_that_the_builder_opened(house: House) -> None:
    house.sign_in()
    builder = make_form(house)
    save(house, builder, do="add:appointment")
    page = house.client.get(builder).text
    zone = re.search(r'<option value="([A-Z][a-z]+/\w+)" selected>', page)
    assert zone
    hours = {"q:q4:opens": "00:00", "q:q4:closes": "23:00", "q:q4:slot": "60", "q:q4:day": list("1234567")}
    assert save(house, builder, do="publish", **hours).status_code == 303
    form_id = builder.removeprefix("/forms/")
    post(house, f"/forms/defaults/{house.webchat_id}", "/forms", form_id=form_id)
    [version] = house.context.db.read_now(
        lambda tx: store.list_versions(tx, house.business_id, form_id=form_id)
    )
    chat = house.client.get(f"/chat/{house.webchat_id}").text
    offered = re.findall(r'<option value="(20[0-9T:-]+)">', chat)
    assert "Times are local in" in chat
    answers = {"q2": "mei@example.com", "q3": "+65 8123 4567", "q4": offered[30]}
    late = send(house, version, answers | {"q4": "2020-01-01T09:00"}, consents=[])
    assert (late.status_code, late.json()["problems"]) == (
        422,
        {"q4": "Choose a time from the list."},
    )
    assert send(house, version, answers, consents=[]).status_code == 200
    assert (
        offered[30].replace("T", " ") + f" ({zone.group(1)})" in house.client.get(f"{builder}/answers").text
    )


def test_a_test_is_checked_and_thrown_away(house: House) -> None:
    version = offer(house, kitchen())
    house.sign_in()
    path = f"/forms/{version.form_id}/test"
    headers = {"X-CSRF-Token": csrf_of(house.client.get(path).text)}
    body = {"submission_id": "submission-1", "language": "en", "answers": {"q1": "a"}, "consents": ["c1"]}
    with nothing_changes(house.context.db):
        lacking = house.client.post(path, json=body, headers=headers)
        assert (lacking.status_code, lacking.json()["problems"]) == (422, {"q5": "Please answer this."})
        whole = body | {"answers": {"q1": "a", "q5": "mei@example.com", "q6": "8123 4567"}}
        taken = house.client.post(path, json=whole, headers=headers).json()
        assert taken["taken"]["Label of q6"] == "+6581234567"
        assert taken["score"] == 5
        unfit = house.client.post(path, json=body | {"answers": {"q1": "c"}}, headers=headers).json()
        assert unfit["verdict"] == "no_fit"
        assert house.client.post(path, json=whole).status_code == 403


def test_a_sent_form_is_thanked_once_and_is_one_lead(house: House) -> None:
    version = offer(house)
    for _ in range(2):
        answer = send(house, version, MAIL)
        assert (answer.status_code, answer.json()) == (200, {"accepted": True, "verdict": "taken"})
    thread = house.client.get(f"/chat/{house.webchat_id}/messages").json()["messages"]
    [(sender, text)] = [(each["from"], each["text"]) for each in thread]
    thanks, _, handed_in = text.partition("\n\n")
    assert (sender, thanks) == ("business", "Thank you!\nWe write soon.")
    assert MAIL["q1"] in handed_in
    found = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    assert len(found) == 1


def test_the_inbox_shows_the_thank_you_and_the_notice_the_customer_sees_no_notice(house: House) -> None:
    send(house, offer(house), MAIL)
    house.sign_in()
    notice = "Contact information has been updated in Leads Center"
    link = until(lambda: re.search(r'href="(/inbox/[0-9a-f-]{36})', house.client.get("/inbox").text))
    assert link
    assert until(lambda: notice in house.client.get(link.group(1)).text)
    assert "Thank you!" in house.client.get(link.group(1)).text
    chat = house.client.get(f"/chat/{house.webchat_id}").text
    assert notice not in chat
    assert "lead" not in re.sub(r"<[^>]*>", " ", chat).lower()


def test_the_form_and_the_welcome_of_the_ad_that_was_tapped_last_are_shown(house: House) -> None:
    offer(house)
    words = {**content().words["en"], "headline": "Of the ad"}
    mine = house.context.db.write_now(
        lambda tx: published(tx, house.business_id, content(words={"en": words}))
    )
    ad = house.make_ad("LEAD_GENERATION")
    welcome = {
        "content": "Hello, islander!",
        "suggested_questions": [{"question": "A boat?", "answer": "Yes."}],
    }
    house.data(
        "POST", "/creative/auto_message/create/", auto_message_type="WELCOME_MESSAGE", welcome_message=welcome
    )
    message = house.data("GET", "/creative/auto_message/get/")["list"][0]["auto_message_id"]
    changes = {"ad_id": ad["ad_id"], "page_id": str(mine.number), "auto_message_id": message}
    house.data("POST", "/ad/update/", adgroup_id=ad["adgroup_id"], creatives=[changes])
    assert "Of the ad" not in house.client.get(f"/chat/{house.webchat_id}").text
    house.sign_in()
    link = re.search(
        r'href="http://127.0.0.1:8000(/t/c/[^"]+)"', house.client.get(f"/ads/{ad['ad_id']}/preview").text
    )
    assert link
    chat = house.client.get(link.group(1)).text
    for said in ("Of the ad", "Hello, islander!", 'data-ask="A boat?"'):
        assert said in chat
    assert "Yes." not in chat


def test_an_ad_group_and_an_ad_choose_their_form_of_the_list(house: House) -> None:
    group_form, ad_form = offer(house), offer(house, kitchen())
    house.sign_in()
    campaign = post(house, "/ads/campaigns", "/ads", advertiser_id=house.advertiser_id, name="November")
    path = campaign.headers["location"].removesuffix("/new")
    typed = {"name": "Group", "goal": "conversation", "country": ["SG"], "budget": "10",
             "channel_account_id": house.webchat_id, "page_id": str(group_form.number)}  # fmt: skip
    refused = post(house, path, "/ads", **(typed | {"page_id": "7400000000000000001"}))
    assert (refused.status_code, "Published form not found." in refused.text) == (422, True)
    ads = post(house, path, "/ads", **typed).headers["location"].removesuffix("/new")
    assert "Form of the ad group: Quote · version 1" in house.client.get(f"{ads}/new").text
    for name, chosen in (("First", ""), ("Second", str(ad_form.number))):
        made = post(house, ads, "/ads", name=name, headline="Taste?", body="Now", page_id=chosen)
        assert made.status_code == 303, made.text
    known = house.context.db.read_now(lambda tx: list_measured_ads(tx, house.business_id))
    pages = {ad.ad_name: ad.page_id for ad in known.values()}
    assert pages == {"First": str(group_form.number), "Second": str(ad_form.number)}


def test_the_sheet_comes_in_the_language_that_was_asked_for(house: House) -> None:
    version = offer(house, kitchen())
    headers = {"Accept-Language": "ar-EG,en;q=0.5"}
    assert 'lang="ar" dir="rtl"' in house.client.get(f"/chat/{house.webchat_id}", headers=headers).text
    path = f"/chat/{house.webchat_id}/form/{version.number}"
    assert "اسألنا" in house.client.get(f"{path}?lang=ar").text
    assert "Ask us" in house.client.get(f"{path}?lang=tlh").text


REFUSED: list[tuple[dict[str, Any], int]] = [
    ({"answers": {"q1": "nonsense"}}, 422), ({"answers": {}}, 422), ({"opening": "1.forged"}, 401),
    ({"opening": ""}, 401), ({"page_id": "7400000000000000001"}, 404), ({"page_id": "../../leads"}, 404),
    ({"page_id": 7}, 400), ({"submission_id": "short"}, 422), ({"submission_id": "x" * 65}, 422),
    ({"answers": {f"q{n}": "x" for n in range(101)}}, 422), ({"answers": [1]}, 400),
    ({"answers": {"q1": {"a": 1}}}, 400), ({"answers": {"q1": "x" * 40_000}}, 413),
    ({"answers": {"q1": "x" * 3_000}}, 422),
]  # fmt: skip


def test_what_cannot_be_taken_is_refused_in_plain_words_and_changes_nothing(house: House) -> None:
    version = offer(house)
    with nothing_changes(house.context.db):
        for changes, status in REFUSED:
            house.client.cookies.clear()  # each is another visitor
            answer = send(house, version, **{"answers": MAIL, **changes})
            assert answer.status_code == status, (changes, answer.text)
            assert answer.json()["message"]


def test_a_form_that_comes_faster_than_anyone_can_write_is_asked_to_wait(house: House) -> None:
    version = offer(house)
    with nothing_changes(house.context.db):
        fast = send(house, version, MAIL, opening=opened(house, version, ago_s=0))
    assert fast.status_code == 429
    assert 0 < int(fast.headers["Retry-After"]) <= 3


def test_no_json_and_no_cookie_are_refused(house: House) -> None:
    version = offer(house)
    assert house.client.post(f"/chat/{house.webchat_id}/form", data={"a": "b"}).status_code == 401
    house.client.get(f"/chat/{house.webchat_id}")
    assert house.client.post(f"/chat/{house.webchat_id}/form", data={"a": "b"}).status_code == 400
    assert house.client.post("/chat/another/form", json={}).status_code == 404
    assert house.client.get(f"/chat/{house.webchat_id}/form/{version.number}1").status_code == 404


def test_a_program_in_the_trap_hears_what_a_person_hears_and_makes_no_lead(house: House) -> None:
    version = offer(house)
    answer = send(house, version, MAIL, website="https://spam.example")
    assert answer.json() == {"accepted": True, "verdict": "taken"}
    assert house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter())) == []
    assert house.client.get(f"/chat/{house.webchat_id}/messages").json()["messages"] == []


def test_one_visitor_cannot_flood_a_form(house: House) -> None:
    version = offer(house)
    statuses = [
        send(house, version, MAIL, submission_id=f"submission-{number}").status_code for number in range(21)
    ]
    assert statuses == [200] * 20 + [429]


def test_answers_are_listed_with_their_consents_and_downloaded_safely(house: House) -> None:
    version = offer(house, kitchen())
    answers = {"q1": "a", "q2": ["a", "b"], "q5": "mei@example.com", "q6": "8123 4567", "q8": "=HYPERLINK(1)"}
    assert send(house, version, answers).status_code == 200
    house.sign_in()
    page = house.client.get(f"/forms/{version.form_id}/answers").text
    for shown in (
        "Option a, Option b",
        "mei@example.com",
        "+65 8123 4567",
        "Contact me about this.",
        "7 points",
    ):
        assert shown in page
    table = house.client.get(f"/forms/{version.form_id}/answers.csv")
    (row,) = csv.DictReader(io.StringIO(table.content.decode("utf-8-sig")))
    assert row["page_id"] == str(version.number)
    assert row["Label of q6"] == "+6581234567"
    assert row["Label of q8"] == "'=HYPERLINK(1)"
    assert (row["Consent: Contact me about this."], row["Consent: Send me news."]) == ("yes", "no")


def test_a_download_of_answers_counts_only_those_in_the_file_as_read(house: House) -> None:
    version = offer(house, kitchen())
    assert send(house, version, {"q1": "a", "q5": "mei@example.com", "q6": "8123 4567"}).status_code == 200
    unfit = send(house, version, {"q1": "c"}, submission_id="submission-2")
    assert unfit.json()["verdict"] == "no_fit"
    house.sign_in()
    house.client.get(f"/forms/{version.form_id}/answers.csv")
    business_id = house.context.db.read_now(lambda tx: tx.scalar(select(businesses.c.id)))
    entries = house.context.db.read_now(lambda tx: list_audit_entries(tx, business_id, (0, 5)))
    counts = [read_seen(entry.seen)["answer_id"][0] for entry in entries if "answer_id" in entry.seen]
    assert counts == [1]


def test_older_answers_are_on_the_next_page(house: House) -> None:
    version = offer(house)
    for number in range(52):
        house.client.cookies.clear()
        assert send(house, version, {"q1": f"m{number}@example.com"}).status_code == 200
    house.sign_in()
    first = house.client.get(f"/forms/{version.form_id}/answers").text
    older = re.search(r'href="(/forms/[^"]+\?before=[^"]+)"', first)
    assert older
    second = house.client.get(older.group(1)).text
    both = re.findall(r"m\d+@example\.com", first), re.findall(r"m\d+@example\.com", second)
    assert (len(both[0]), len(both[1]), len(set(both[0] + both[1]))) == (50, 2, 52)
    for strange in ("x", "1_", "9" * 30, "-1_a"):
        assert house.client.get(f"/forms/{version.form_id}/answers?before={strange}").status_code == 200
    assert len(house.client.get(f"/forms/{version.form_id}/answers.csv").text.splitlines()) == 53


def test_a_lead_s_page_can_fetch_its_forms_and_no_one_else_s(house: House) -> None:
    send(house, offer(house), MAIL)
    (lead,) = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    house.sign_in()
    assert "mei@example.com" in house.client.get(f"/leads/{lead.id}/answers").text
    assert "mei@example.com" not in house.client.get(f"/leads/{'0' * 36}/answers").text


def test_another_business_s_form_is_not_there(house: House) -> None:
    theirs = house.context.db.write_now(lambda tx: published(tx, "another"))
    house.sign_in()
    for path in ("", "/test", "/answers", "/answers.csv"):
        assert house.client.get(f"/forms/{theirs.form_id}{path}").status_code == 404
    assert send(house, theirs, MAIL).status_code == 404
    for path in (f"/forms/{theirs.form_id}/draft",):
        with nothing_changes(house.context.db):
            assert post(house, path, "/forms", name="x", revision="2").status_code == 404
    mine = post(house, f"/forms/defaults/{house.webchat_id}", "/forms", form_id=theirs.form_id)
    assert mine.status_code == 404


HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


def _hostile_form() -> Content:
    asked = content(
        question("q1", QuestionKind.NAME), question("q2", QuestionKind.EMAIL, required=True),
        question("q3", QuestionKind.LONG_TEXT),
        question("q4", QuestionKind.TEXT), question("q5", QuestionKind.CITY),
        question("q6", QuestionKind.CHOICE, options=(Option("a"), Option("b"))),
    )  # fmt: skip
    words = {key: f"{text}{HOSTILE}"[:120] for key, text in asked.words["en"].items()}
    more = dict.fromkeys(("intro", "benefits", "submit", "end_label", "no_fit_title", "no_fit_text"), HOSTILE)
    return content(*asked.questions, words={"en": words | more})


def test_hostile_text_in_every_field_runs_in_no_screen(house: House) -> None:
    version = offer(house, _hostile_form())
    typed = dict.fromkeys(("q1", "q3", "q4", "q5"), HOSTILE) | {"q2": "mei@example.com", "q6": "a"}
    assert send(house, version, typed, language=HOSTILE).status_code == 200
    house.client.post(
        f"/chat/{house.webchat_id}/messages", json={"client_message_id": "message-1", "text": HOSTILE}
    )
    house.sign_in()
    assert until(lambda: "conversations" in house.client.get("/inbox").text)
    (lead,) = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    paths = [
        f"/chat/{house.webchat_id}", f"/chat/{house.webchat_id}/form/{version.number}", "/forms",
        f"/forms/{version.form_id}", f"/forms/{version.form_id}/test", f"/forms/{version.form_id}/answers",
        "/leads", f"/leads/{lead.id}", f"/leads/{lead.id}/answers", "/inbox",
        f"/inbox/{lead.conversation_id}", "/ads", "/reports",
    ]  # fmt: skip
    for path in paths:
        page = house.client.get(path)
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text, path
        assert "<img src=x" not in page.text, path
        assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(..)", page.text), path
