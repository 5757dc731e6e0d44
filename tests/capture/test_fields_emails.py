import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.capture.fields.addresses import labels
from contatto.capture.rules import detect_contacts


def found(text: str, country: str = "SG") -> list[str]:
    return [match.value for match in detect_contacts(text, country) if match.field == "email"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("EMAIL=Luna.B@Example.COM", "Luna.B@example.com"),
        ("<luna+shop@example.com>", "luna+shop@example.com"),
        ("mailto:luna@example.com", "luna@example.com"),
        ("อีเมลluna@example.co.thครับ", "luna@example.co.th"),
        ("メールはluna@example.jpまで", "luna@example.jp"),
        ("ｌｕｎａ＠ｇｍａｉｌ．ｃｏｍ", "luna@gmail.com"),
        ("lu\u200bna@gm\u200bail.com", "luna@gmail.com"),
        ("luna@例え.jp", "luna@例え.jp"),
        ("luna@xn--r8jz45g.jp", "luna@例え.jp"),
        ("luna@example.com.", "luna@example.com"),
        ("...luna@example.com", "luna@example.com"),
    ],
)
def test_an_address_is_found_and_normalised(text: str, value: str) -> None:
    assert found(text) == [value]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("write to mei&co@example.com", "mei&co@example.com"),
        ("a&b&c@example.com", "a&b&c@example.com"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("luna@example.com&mei@example.org", "luna@example.com mei@example.org"),
        ("91234567&luna@example.com", "luna@example.com"),
        ("ig @shop&luna@example.com", "luna@example.com"),
        ("mail&luna@example.com", "luna@example.com"),
    ],
)
def test_an_ampersand_is_a_part_of_the_address_unless_it_joins_two_things(text: str, values: str) -> None:
    assert found(text) == values.split()


@pytest.mark.parametrize(
    "text",
    [
        "mail=luna@example.com",
        "e-mail:luna@example.com",
        "e-mail=luna@example.com",
        "Mi correo=luna@example.com",
        "contact#luna@example.com",
        "'luna@example.com'",
        "`luna@example.com`",
        "{luna@example.com}",
        "my mail: ~luna@example.com~",
        "*luna@example.com*",
        "my mail is *luna@example.com*, thanks",
        "|luna@example.com|",
        "#luna@example.com",
        "hello! luna@example.com",
        "!!luna@example.com",
        "= luna@example.com",
        "อีเมล=luna@example.com",
        "メール！luna@example.com",
        "luna@example.com!",
        "luna@example.com?",
    ],
)
def test_signs_round_an_address_and_after_its_label_are_not_of_it(text: str) -> None:
    assert found(text) == ["luna@example.com"]


@pytest.mark.parametrize("sign", "!#$*=?^`{|}~")
@pytest.mark.parametrize("domain", ["example.com", "gmail.com"])
def test_an_address_that_could_only_be_taken_in_part_is_not_taken(sign: str, domain: str) -> None:
    assert found(f"mei{sign}co@{domain}") == []
    assert found(f"my mail is mei{sign}co@{domain}") == []
    assert found(f"my mail is mei{sign}co at {domain.replace('.', ' dot ')}") == []


@pytest.mark.parametrize("text", ["josé.perez@example.com", "muñoz@example.com", "my mail: đoàn@gmail.com"])
def test_an_address_with_accents_is_not_cut_at_them(text: str) -> None:
    assert found(text) == []


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
LOCALS = st.builds(
    lambda first, rest: first + "".join(rest),
    NAMES,
    st.lists(st.builds(str.__add__, st.sampled_from("!#$%&'*+/=?^_`{|}~.-"), NAMES), max_size=4),
)


@given(LOCALS, st.sampled_from(("{}", "my e-mail is {}", "write {} please", "<{}>", "({})")))
def test_no_address_is_ever_cut_short(local: str, carrier: str) -> None:
    whole = f"{local}@example.com"
    taken = found(carrier.format(whole))
    words = re.split(r"[^a-z0-9]", local)
    if not is_label(words):
        assert taken in ([], [whole])


def is_label(words: list[str]) -> bool:
    """A word before a sign may be a label, such as "mail", and digits may be a number of their own."""
    return any(word in labels() or word.isdigit() for word in words[:-1])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("luna99 at gmail dot com", "luna99@gmail.com"),
        ("luna(arroba)outlook(punto)com", "luna@outlook.com"),
        ("luna [at] example [dot] org", "luna@example.org"),
        ("luna @ outlook . sg", "luna@outlook.sg"),
        ("luna dot tan at gmail dot com", "luna.tan@gmail.com"),
        ("luna underscore tan at yahoo dot com dot sg", "luna_tan@yahoo.com.sg"),
        ("邮箱 luna88 艾特 gmail 点 com", "luna88@gmail.com"),
        ("luna88@gmail。com", "luna88@gmail.com"),
        ("luna88 at the rate gmail dot com", "luna88@gmail.com"),
        ("เมล luna88 แอทจีเมลดอทคอม", "luna88@gmail.com"),
        ("الايميل luna88 ات جيميل دوت كوم", "luna88@gmail.com"),
        ("luna88 アットマーク gmail ドットコム", "luna88@gmail.com"),
        ("เมล luna.ch แอท gmail ดอท com", "luna.ch@gmail.com"),
        ("luna アット gmail ドット com", "luna@gmail.com"),
        ("luna שטרודל gmail נקודה com", "luna@gmail.com"),
        ("luna a còng gmail chấm com", "luna@gmail.com"),
        ("my email is luna at lunabakery dot com", "luna@lunabakery.com"),
    ],
)
def test_a_spelled_out_address_is_found(text: str, value: str) -> None:
    assert found(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "I saw it at shopee dot com",
        "look at me at gmail dot com",
        "git@example.com:luna/repo.git",
        "user@localhost",
        "luna@example",
        "luna..tan@example.com",
        ".luna@example.com",
        "mail .luna@example.com",
        "luna.@example.com",
        "lu**@example.com",
        "sold @RM12/kg",
        "photo@2x.png",
        "meet @ 6",
    ],
)
def test_what_only_looks_like_an_address_is_none(text: str) -> None:
    assert found(text) == []


def test_parts_are_capped_as_the_standard_says() -> None:
    assert found("a" * 64 + "@example.com") == ["a" * 64 + "@example.com"]
    assert found("a" * 65 + "@example.com") == []
