import pytest

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
