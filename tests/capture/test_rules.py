import json
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest

import contatto
from contatto.capture.fields.text import as_bytes, find_name, finder, fold, may_open, words
from contatto.capture.model import Field
from contatto.capture.rules import (
    LONGEST_END,
    MARKETS,
    MOST_MATCHES,
    detect_contacts,
    detect_contacts_batch,
    warm,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "capture"


def found(text: str, country: str = "SG") -> list[tuple[str, str]]:
    return [(match.field.value, match.value) for match in detect_contacts(text, country)]


def messages() -> list[tuple[str, str]]:
    lines = (FIXTURES / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["text"], row["country"]) for row in map(json.loads, lines)]


def test_the_package_hands_on_the_detector_without_loading_it() -> None:
    program = (
        "import sys, contatto; assert 'contatto.capture.rules' not in sys.modules; "
        "from contatto import detect_contacts as find; "
        "assert find('hp 9123 4567', 'SG')[0].value == '+6591234567'; "
        "assert not {'duckdb', 'ibis', 'fastapi', 'sqlalchemy', 'pyspark'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_package_knows_no_other_names() -> None:
    assert contatto.detect_contacts is detect_contacts
    with pytest.raises(AttributeError, match="no attribute 'detect_everything'"):
        contatto.detect_everything  # noqa: B018


def test_there_are_forty_seven_markets() -> None:
    assert len(set(MARKETS)) == 47


def test_warming_up_reads_every_market() -> None:
    warm()
    assert found("call 0812-345-6789", "ID") == [("phone", "+628123456789")]


def test_contacts_come_in_the_order_of_the_text() -> None:
    text = "ig luna.decor, mail luna@example.com, call 9123 4567, m.me/luna.decor"
    assert [field for field, _ in found(text)] == ["instagram", "email", "phone", "messenger"]


def test_the_evidence_is_the_slice_of_the_original_text() -> None:
    text = "wa\u200b ９１２３\u200d４５６７ ok"
    (match,) = detect_contacts(text, "SG")
    assert match.field is Field.WHATSAPP
    assert text[match.start : match.end] == match.raw == "９１２３\u200d４５６７"
    assert match.rule == "whatsapp.cue-before"
    assert 0 < match.confidence <= 1


def test_a_text_without_anything_gives_nothing() -> None:
    assert found("is this still available?") == []
    assert found("") == []


@pytest.mark.parametrize(
    "text",
    [
        "\ud800 call 9123 4567 \udfff",
        "<script>alert('9123 4567')</script><b>call 9123 4567</b>",
        "call\x00 9123 4567\x07\x1b[31m",
        "\u202ecall 9123 4567\u202c",
        "call 9123 4567" + "\u0301" * 500,
    ],
)
def test_hostile_text_hides_no_number_and_raises_nothing(text: str) -> None:
    assert ("phone", "+6591234567") in found(text)


def test_a_very_long_text_is_read_at_both_ends() -> None:
    text = "call 9123 4567 " + "ok " * 40_000 + "or ig luna.decor"
    matches = detect_contacts(text, "SG")
    assert [(match.field.value, match.value) for match in matches] == [
        ("phone", "+6591234567"),
        ("instagram", "luna.decor"),
    ]
    assert all(text[match.start : match.end] == match.raw for match in matches)


def test_the_middle_of_a_very_long_text_is_not_read() -> None:
    assert found("ok " * LONGEST_END + "call 9123 4567" + " ok" * LONGEST_END) == []


def test_a_list_of_contacts_ends_at_the_most_that_come_back() -> None:
    text = " ".join(f"mail a{number}@example.com" for number in range(300))
    assert len(detect_contacts(text, "SG")) == MOST_MATCHES


def test_a_batch_finds_what_single_calls_find() -> None:
    texts = [*messages(), ("x" * 40_000 + " 9123 4567", "SG"), ("\ud800", "SG"), ("", "SG")]
    assert detect_contacts_batch(texts) == [detect_contacts(text, country) for text, country in texts]


def test_an_empty_batch_gives_an_empty_answer() -> None:
    assert detect_contacts_batch([]) == []


def test_many_threads_find_the_same() -> None:
    texts = messages()[:120]
    wanted = [detect_contacts(*text) for text in texts]
    answers: list[bool] = []

    def read() -> None:
        answers.append([detect_contacts(*text) for text in texts] == wanted)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 6


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hi, my name is Luna Field, is it free?", "Luna Field"),
        ("Me llamo Luna del Mar y quiero uno", "Luna del Mar"),
        ("meu nome é Luna da Costa", "Luna da Costa"),
        ("nama saya Luna Sari", "Luna Sari"),
        ("ผมชื่อสมชายครับ", "สมชาย"),
        ("私の名前は花子です", "花子"),
        ("我叫小月，想问价格", "小月"),
        ("اسمي قمر", "قمر"),
        ("em tên Nguyệt, cho hỏi", "Nguyệt"),
        ("je m'appelle Lune", "Lune"),
    ],
)
def test_a_stated_name_is_found_and_is_no_contact(text: str, name: str) -> None:
    match = find_name(text)
    assert match is not None
    assert match.value == name
    assert text[match.start : match.end] == match.raw
    assert found(text) == []


def test_what_opens_a_name_is_found_by_the_quick_look_too() -> None:
    dice, odd = Random(1), [*" aZ9_\nſİéבا中ก-’ß０", "\u0301", "\u200b", "\ud800", ""]  # noqa: S311  # no secret
    openings = sorted(words("names", "intro"))
    for _ in range(3_000):
        around = ["".join(dice.choices(odd, k=dice.randrange(3))) for _ in range(2)]
        opening = dice.choice([str.upper, str.title, str.lower])(dice.choice(openings))
        text = fold(opening.join(around))
        assert not finder("names", "intro").search(text.low) or may_open()(as_bytes(text.low)), ascii(
            text.low
        )


@pytest.mark.parametrize(
    "text", ["I'm late", "this is nice", "what is your name?", "soy de lima", "", "9123 4567"]
)
def test_ordinary_words_are_no_name(text: str) -> None:
    assert find_name(text) is None
