import pytest

from contatto.capture.fields.text import BLANK, both_ends, fold


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("０９０－１２３４", "090-1234"),
        ("٠٥٥ ۱۲۳ ०१२ ๐๑๒ ០១២ ௦௧௨", "055 123 012 012 012 012"),
        ("9\ufe0f\u20e31\ufe0f\u20e3", "91"),
        ("w\u200ba\u00ad \u202e9", "wa 9"),
        ("caf\u0065\u0301", "café"),
        ("𝟗𝟏", "91"),
        ("ｲﾝｽﾀ", "インスタ"),
        ("a\u00a0b\u3000c", "a b c"),
        ("İG", "IG"),
        ("\ud800x", "\ufffdx"),
        ("ماسـنجر", "ماسنجر"),
    ],
)
def test_a_text_folds_to_its_plain_spelling(text: str, plain: str) -> None:
    assert fold(text).text == plain


def test_a_plain_text_is_not_copied() -> None:
    text = "call 9123 4567, ครับ น้ำ"
    folded = fold(text)
    assert folded.text is text
    assert folded.span(5, 14) == (5, 14)


def test_a_span_leads_back_to_the_signs_that_it_came_from() -> None:
    text = "a\u200b９\u20e3１b"
    folded = fold(text)
    start, end = folded.span(folded.text.index("9"), folded.text.index("1") + 1)
    assert text[start:end] == "９\u20e3１"


def test_lower_case_keeps_every_place() -> None:
    folded = fold("İİİ ＡＢ ẞ call")
    assert len(folded.low) == len(folded.text)


def test_what_was_read_is_blank_for_the_next() -> None:
    rest = fold("call 9123 now").without([(5, 9)])
    assert rest.text == f"call {BLANK * 4} now"
    assert rest.low == f"call {BLANK * 4} now"


def test_a_flood_is_read_at_both_ends() -> None:
    assert both_ends(range(1_000), most=4) == [0, 1, 998, 999]
    assert both_ends(range(3), most=4) == [0, 1, 2]
