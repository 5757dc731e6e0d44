import re
import tomllib
from pathlib import Path

import pytest
import re2

import contatto.capture
from contatto.capture.fields.text import linear_pattern, pattern, tlds, words

LEXICONS = Path(contatto.capture.__file__).parent / "lexicons"
KEYS = {
    "writing": {"optional", "endings"},
    "cues": {
        *("phone", "number", "email", "whatsapp", "instagram", "facebook", "messenger", "line", "twitter"),
        *("linkedin", "weibo", "wechat", "snapchat"),
    },
    "numbers": {"labels", "units", "currencies", "extensions"},
    "words": {
        *(
            "negations",
            "is",
            "joiners",
            "before",
            "and",
            "same_number",
            "not_cues",
            "stop",
            "markers",
            "around",
        ),
        *("services", "line_app", "wishes", "own", "copulas", "closers", "states", "state_endings"),
    },
    "email": {"at", "dot", "underscore", "dash", "providers"},
    "email_labels": {"gmail", "hotmail", "yahoo", "outlook", "icloud", "naver", "walla", "com", "jp"},
    "names": {"intro"},
}


@pytest.mark.parametrize("path", sorted(LEXICONS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_lexicon_holds_only_known_kinds_of_words(path: Path) -> None:
    lexicon = tomllib.loads(path.read_text(encoding="utf-8"))
    assert {section: set(kinds) - KEYS[section] for section, kinds in lexicon.items()} == {
        section: set() for section in lexicon
    }
    listed = [word for kinds in lexicon.values() for kind in kinds.values() for word in kind]
    assert all(word == word.strip() and word for word in listed)


@pytest.mark.parametrize("path", sorted(LEXICONS.glob("??.toml")), ids=lambda path: path.stem)
def test_every_language_has_the_words_that_matter(path: Path) -> None:
    lexicon = tomllib.loads(path.read_text(encoding="utf-8"))
    assert lexicon["cues"]["phone"]
    assert lexicon["numbers"]["labels"]
    assert lexicon["words"]["negations"]
    assert lexicon["email"]["at"]
    assert lexicon["names"]["intro"]


def test_a_word_is_whole_where_its_script_has_borders() -> None:
    found = re.compile(pattern(["ig", "ไลน์", "واتس"]))
    assert found.search("my ig luna")
    assert not found.search("big luna")
    assert found.search("แอดไลน์นะ")
    assert found.search("بالواتساب") is None
    assert found.search("بالواتس")


def test_both_engines_agree_on_where_words_stand() -> None:
    for word in ("line id", "correo", "微信", "מספר"):
        for text in (f"{word} x", f"x{word}x", f" {word}.", f"ก{word}ก"):
            by_re = re.search(pattern([word]), text) is not None
            assert (re2.search(linear_pattern([word]), text) is not None) is by_re


def test_a_word_is_found_by_every_spelling_of_its_first_letter() -> None:
    for word, spelling in (
        ("\u0627\u0628", "\u0623\u0628"),
        ("'oku", "\u2019oku"),
        ("^x", "^x"),
        ("]x", "]x"),
        ("-x", "-x"),
    ):
        assert re.search(pattern([word, "luna", "ig"]), f" {spelling} ")


def test_letters_that_keyboards_mix_up_are_one() -> None:
    found = re.compile(pattern(words("cues", "facebook")))
    assert found.search("فیس بک")
    assert found.search("الفيسبوك")


def test_a_space_that_tells_a_word_from_another_stays() -> None:
    found = re.compile(pattern(words("words", "negations")))
    assert found.search("no va")
    assert found.search("loja nova") is None


def test_accents_may_be_left_out() -> None:
    assert "telefono" in words("cues", "phone")


def test_top_level_domains_are_known_in_both_spellings() -> None:
    assert {"com", "th", "ไทย", "xn--o3cw4h"} <= tlds()
    assert "station" not in tlds()
