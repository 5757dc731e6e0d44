"""The sheet of a form: drawn once for all who see a version in a language, and yet each sees their own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from typing import Any

from contatto.channels.model import ChannelAccount, Platform
from contatto.forms.model import Content, FormVersion, Hours, Prefill, QuestionKind
from contatto.forms.rules.views import show_sheet
from contatto.inbox.pages.chat import SheetReader, fill_sheet
from contatto.kit.languages import translator_for
from contatto.ui.render import FragmentCache, Placeholders, draw
from tests.forms.papers import content, kitchen, question

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script>'
ACCOUNT = ChannelAccount("account-1", "business", Platform.WEBCHAT, "", "Kopi", "kopi", "SG", NOW)


def version_of(of: Content, number: int = 7) -> FormVersion:
    return FormVersion(f"version-{number}", "business", "form", number, 1, "Quote", of, "Owner", NOW)


def asking() -> Content:
    """A form in two languages that fills in an address, and welcomes those who come back."""
    made = kitchen()
    questions = [replace(each, prefill=each.kind is QuestionKind.EMAIL) for each in made.questions]
    english = {**made.words["en"], "again_title": "Welcome back"}
    return replace(made, questions=tuple(questions), words={**made.words, "en": english})


def anew(version: FormVersion, reader: SheetReader, language: str, opening: str, now: datetime) -> str:
    """The sheet from its template alone."""
    sheet = show_sheet(version.content, language, version.number, opening, now, reader.prefill)
    values: dict[str, Any] = {
        "account": {"id": reader.account.id, "display_name": reader.account.name},
        "form": sheet | {"image": ""},
        "preview": False,
    }
    based = {"base": reader.base} if reader.base else {}
    return draw("forms/_sheet.html", values | based, translator_for(language))


def test_a_sheet_is_the_same_whether_it_is_drawn_anew_or_was_kept() -> None:
    kept = FragmentCache()
    told: list[dict[QuestionKind, str]] = [
        {},
        {QuestionKind.EMAIL: "mei@example.com"},
        {QuestionKind.EMAIL: HOSTILE},
    ]
    names, visitors = ("Kopi", HOSTILE), (("one", ""), (HOSTILE, f"/form/{HOSTILE}"))
    versions = [version_of(asking()), version_of(content(), 8)]
    for _ in range(2):  # the second time they are kept
        for version, details, is_back, name, (opening, base) in product(
            versions, told, (False, True), names, visitors
        ):
            reader = SheetReader(replace(ACCOUNT, name=name), "v_1", Prefill(is_back, details), base)
            for language in version.content.languages:
                sheet = fill_sheet(kept, version, reader, language, opening, NOW)
                assert sheet == anew(version, reader, language, opening, NOW)
                assert "<script" not in sheet


def test_nothing_of_a_reader_is_kept() -> None:
    kept, version = FragmentCache(), version_of(asking())
    reader = SheetReader(ACCOUNT, "v_1", Prefill(details={QuestionKind.EMAIL: "mei@example.com"}))
    assert "mei@example.com" in fill_sheet(kept, version, reader, "en", "token of v_1", NOW)
    assert kept.characters == 0
    fill_sheet(kept, version, SheetReader(ACCOUNT, "v_1"), "en", "token of v_1", NOW)
    theirs = fill_sheet(kept, version, SheetReader(ACCOUNT, "v_2"), "en", "token of v_2", NOW)
    assert "token of v_1" not in theirs
    assert "token of v_2" in theirs


def test_times_to_choose_from_are_those_of_now() -> None:
    hours = Hours("UTC", opens="00:00", closes="24:00", slot_minutes=15)
    version, reader = (
        version_of(content(question("q1", QuestionKind.APPOINTMENT, hours=hours))),
        SheetReader(ACCOUNT, "v"),
    )
    kept = FragmentCache()
    for seconds in range(0, 3_600, 29):
        now = NOW + timedelta(seconds=seconds)
        sheet = fill_sheet(kept, version, reader, "en", "token", now)
        assert sheet == anew(version, reader, "en", "token", now)


def test_what_was_not_asked_for_longest_is_forgotten() -> None:
    kept, drawn = FragmentCache(most=10), list[str]()

    def draw_one(key: str) -> str:
        drawn.append(key)
        return key * 4

    for key in ("a", "b", "a", "c", "a", "b"):
        assert kept.find(key, partial(draw_one, key)) == key * 4
        assert kept.characters <= 10
    assert drawn == ["a", "b", "c", "b"]
    assert kept.find("large", lambda: "x" * 11) == "x" * 11
    assert kept.characters == 0


def test_a_text_that_names_a_place_to_fill_in_is_left_alone() -> None:
    holes = Placeholders("opening")
    assert (
        holes.fill(f"opening- opening {holes.marks['opening']}", {"opening": "<"}) == "opening- opening &lt;"
    )
    assert holes.marks["opening"] != Placeholders("opening").marks["opening"]
