"""The language of a request, its texts with hostile values in them, its plurals, numbers and money."""

from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from contatto.kit import languages
from contatto.kit.i18n import N_, LazyText, read_lazy_text
from contatto.kit.languages import LANGUAGES, SOURCE, translator_for
from contatto.ui.render import (
    LANGUAGE_COOKIE,
    _templates,
    avatar_of,
    translator_of,
    wanted_language,
)
from tools.translations import read_catalogue

HOSTILE = '<script>alert("1")</script>'
CATALOGUE = """\
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

msgid "Save"
msgstr "Salva <b>"

#, fuzzy
msgid "Open"
msgstr "Chiudi"

msgid "Write to %(name)s"
msgstr "Scrivi a %(name)s & co"

msgid "%(num)s lead of %(name)s"
msgid_plural "%(num)s leads of %(name)s"
msgstr[0] "%(num)s contatto di %(name)s"
msgstr[1] "%(num)s contatti di %(name)s"
"""


@pytest.fixture
def italian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small Italian catalogue in the place of ours."""
    (tmp_path / "it.po").write_text(CATALOGUE, encoding="utf-8")
    monkeypatch.setattr(languages, "CATALOGUES", tmp_path)
    translator_for.cache_clear()
    yield translator_for("it")
    translator_for.cache_clear()


def request_with(**headers: str) -> Request:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": sent, "state": {}})


def rendered(lang: str, source: str, **values: Any) -> str:
    page = _templates().from_string('{% import "ui/macros.html" as ui with context %}' + source)
    request = request_with()
    request.state.language = lang
    frame = {"page_words": translator_of(request), "request": request, "csrf_token": "", "lang": lang}
    return str(page.render(frame | values))


def test_texts_and_macros_are_called_alike_inside_a_loop_that_sets_a_name(italian: Any) -> None:
    macro = "{% macro twice(text, tail='!') %}{{ text }}{{ caller() }}{{ text }}{{ tail }}{% endmacro %}"
    called = "{% call twice(_('Save')) %}{{ mine }}{% endcall %}"
    loop = "{% for one in some %}{% set mine = one %}" + called + "{% endfor %}"
    saved = "Salva &lt;b&gt;"
    assert rendered("it", macro + loop, some=[1, 2]) == f"{saved}1{saved}!{saved}2{saved}!"


def test_a_text_is_shown_in_the_language_and_in_english_where_there_is_no_translation(italian: Any) -> None:
    assert italian.gettext("Save") == "Salva <b>"
    assert italian.gettext("Not there") == "Not there"
    assert italian.gettext("") == ""


def test_an_unsure_translation_is_not_shown(italian: Any) -> None:
    assert italian.gettext("Open") == "Open"


def test_what_is_filled_into_a_text_stays_escaped(italian: Any) -> None:
    for lang in ("it", "en"):
        page = rendered(lang, "<p title=\"{{ _('Write to %(name)s', name=who) }}\">", who=HOSTILE)
        assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in page
        assert "<script" not in page
        many = "{{ ngettext('%(num)s lead of %(name)s', '%(num)s leads of %(name)s', 2, name=who) }}"
        page = rendered(lang, many, who=HOSTILE)
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_the_catalogue_itself_cannot_bring_html(italian: Any) -> None:
    assert rendered("it", "{{ _('Save') }}") == "Salva &lt;b&gt;"
    assert rendered("it", "{{ _('Write to %(name)s', name='Ada') }}") == "Scrivi a Ada &amp; co"


def test_a_label_from_a_table_is_translated_where_it_is_shown(italian: Any) -> None:
    label = N_("Save")
    assert label == "Save"
    assert rendered("it", "{{ _(label) }}", label=label) == "Salva &lt;b&gt;"
    assert rendered("it", "{{ _(label) }}", label="100% <of it>") == "100% &lt;of it&gt;"


def test_macros_and_blocks_speak_the_language_of_the_page(italian: Any) -> None:
    assert "Salva" in rendered("it", "{{ ui.button(_('Save')) }}")
    block = "{% trans name=who %}Write to {{ name }}{% endtrans %}"
    assert rendered("it", block, who="<i>") == "Scrivi a &lt;i&gt; &amp; co"


def test_plurals_and_numbers_follow_the_language(italian: Any) -> None:
    one, many = "%(num)s lead of %(name)s", "%(num)s leads of %(name)s"
    assert italian.ngettext(one, many, 1, name="A") == "1 contatto di A"
    assert italian.ngettext(one, many, 1234, name="A") == "1.234 contatti di A"
    assert translator_for("en").ngettext(one, many, 1234, name="A") == "1,234 leads of A"
    assert translator_for("en").gettext("%(n)s of %(id)s", n=1000, id="1000") == "1,000 of 1000"


@pytest.mark.parametrize(
    ("lang", "number", "percent", "money"),
    [
        ("en", "1,234.5", "95.40%", "SGD 1,234.50"),
        ("it", "1.234,5", "95,40%", "1.234,50 SGD"),
        ("pt-BR", "1.234,5", "95,40%", "SGD 1.234,50"),
        ("ja", "1,234.5", "95.40%", "SGD 1,234.50"),
    ],
)
def test_numbers_percentages_and_money_follow_the_language(
    lang: str, number: str, percent: str, money: str
) -> None:
    words = translator_for(lang)
    assert words.number(1234.5) == number
    assert words.percent(0.954) == percent
    assert words.money(1_234_500_000, "SGD") == money


def test_countries_are_named_in_the_language() -> None:
    assert translator_for("en").country("SG") == "Singapore"
    assert translator_for("it").country("DE") == "Germania"
    assert translator_for("ja").country("??") == "??"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_writes_digits_that_everybody_reads(lang: str) -> None:
    words = translator_for(lang)
    shown = [words.number(1234567), words.percent(0.5), words.money(15_000_000_000, "IDR")]
    assert all(char.isascii() for text in shown for char in text if char.isdigit())
    assert "15" in shown[2]
    assert not shown[2].endswith("00.00")
    assert words.number(None) == words.percent(None) == words.money(None, "SGD") == "–"


def test_rows_that_are_compared_have_the_decimals_that_were_asked_for() -> None:
    words = translator_for("it")
    assert [words.number(value, 4) for value in (0.49, 0.48713, -0.0, None)] == [
        "0,4900",
        "0,4871",
        "0,0000",
        "–",
    ]


def test_a_zero_has_no_sign_whichever_was_written_first() -> None:
    words = translator_for("it")
    assert [words.number(-0.0), words.number(0), words.percent(-0.0)] == ["0", "0", "0,00%"]


@pytest.mark.parametrize("lang", [lang for lang in LANGUAGES if lang != SOURCE])
def test_plural_forms_part_the_numbers_as_the_locale_data_do(lang: str) -> None:
    catalogue = read_catalogue(lang)
    choose = translator_for(lang)._texts.plural  # type: ignore[attr-defined]
    rule = Locale.parse(lang, sep="-").plural_form
    pairs = {(rule(n), choose(n)) for n in range(1000)}
    assert len({form for form, _ in pairs}) == len({index for _, index in pairs}) == len(pairs)
    assert len(pairs) == catalogue.num_plurals


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        ("", "en"),
        ("it-IT,it;q=0.9,en;q=0.8", "it"),
        ("de, ja;q=0.5, th;q=0.7", "th"),
        ("pt-PT", "pt-BR"),
        ("pt", "pt-BR"),
        ("AR-sa", "ar"),
        ("it;q=0, es", "es"),
        ("it;q=much, es;q=0.1", "es"),
        ("fr", "en"),
    ],
)
def test_the_browser_is_asked_for_the_language(header: str, lang: str) -> None:
    assert wanted_language(header) == lang


@given(st.text(max_size=200))
def test_any_header_gives_one_of_our_languages(header: str) -> None:
    assert wanted_language(header) in LANGUAGES


def test_a_members_choice_goes_before_the_cookie_and_the_cookie_before_the_browser() -> None:
    request = request_with(accept_language="ja", cookie=f"{LANGUAGE_COOKIE}=th")
    assert translator_of(request).lang == "th"
    request.state.language = "it"
    assert translator_of(request).lang == "it"
    assert translator_of(request_with(accept_language="ja", cookie=f"{LANGUAGE_COOKIE}=xx")).lang == "ja"


TEXTS = st.text().map(lambda text: text.replace("%", "%%"))
SAID = st.recursive(
    st.builds(LazyText, st.text() | st.just("[")),
    lambda inner: st.builds(
        lambda text, one, more: LazyText(f"{text}%(one)s%(more)s", one=one, more=more),
        TEXTS,
        st.integers() | st.text(),
        inner,
    ),
    max_leaves=4,
)


@given(SAID)
def test_a_text_that_waits_for_its_language_is_kept_and_read_as_it_was(said: LazyText) -> None:
    assert str(read_lazy_text(said.kept())) == str(said)


def test_a_text_within_a_text_is_said_in_the_same_language(italian: Any) -> None:
    said = LazyText("Write to %(name)s", name=LazyText("Save"))
    assert said.in_language(italian) == "Scrivi a Salva <b> & co"
    assert str(said) == "Write to Save"


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Mei Lin Tan", "ML"),
        ("@kopi", "K"),
        (" élise ", "É"),
        ("", "?"),
        (None, "?"),
        ("@", "?"),
        ("李 雷", "李雷"),
    ],
)
def test_the_picture_of_a_name_has_its_first_letters_and_one_of_six_colours(
    name: str | None, letters: str
) -> None:
    hue, found = avatar_of(name)
    assert found == letters
    assert hue in range(6)
