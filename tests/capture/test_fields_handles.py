import pytest

from contatto.capture.rules import detect_contacts


def found(text: str, country: str = "SG") -> set[str]:
    return {f"{match.field.value} {match.value}" for match in detect_contacts(text, country)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ig Luna.Decor", "instagram luna.decor"),
        ("@lunadecor on ig", "instagram lunadecor"),
        ("mi face es luna.decor", "facebook luna.decor"),
        ("fb messenger: luna.decor", "messenger luna.decor"),
        ("id line luna_9", "line luna_9"),
        ("ไลน์@lunadecor", "line lunadecor"),
        ("en X soy @luna_d", "twitter luna_d"),
        ("X: @luna_d", "twitter luna_d"),
        ("LinkedIn: luna-decor", "linkedin luna-decor"),
        ("微博 @小月在这里", "weibo 小月在这里"),
        ("ウェイボーは@luna_dです", "weibo luna_d"),
        ("微信号：LunaDecor_9", "wechat lunadecor_9"),
        ("威信 luna_chen", "wechat luna_chen"),
        ("سنابي luna_d90", "snapchat luna_d90"),
        ("sc: luna_d", "snapchat luna_d"),
        ("snapchat username: lunabakes", "snapchat lunabakes"),
        ("ไอดีไลน์: lunashop", "line lunashop"),
        ("ig shop.luna", "instagram shop.luna"),
        ("ig: _luna_", "instagram _luna_"),
        ("fb/luna.decor", "facebook luna.decor"),
        ("インスタ→luna.photo", "instagram luna.photo"),
        ("האינסטה שלי luna.photo", "instagram luna.photo"),
        ("my insta's @luna_d", "instagram luna_d"),
        ("instagram do salão é @lunadecor", "instagram lunadecor"),
        ("LINE追加お願いします→luna.t", "line luna.t"),
        ("snap 👻 luna_d", "snapchat luna_d"),
        ("ហ្វេសប៊ុក៖ luna.decor", "facebook luna.decor"),
        ("x saya @luna_d", "twitter luna_d"),
        ("linkedin: in/luna-decor", "linkedin luna-decor"),
        ("@luna_d es mi insta", "instagram luna_d"),
        ("微博：小月在这里", "weibo 小月在这里"),
        ("我微博@sg小月", "weibo sg小月"),
    ],
)
def test_a_cue_leads_to_its_handle(text: str, wanted: str) -> None:
    assert found(text) == {wanted}


def test_a_shared_cue_gives_both_fields() -> None:
    assert found("IG/FB: luna.decor") == {"instagram luna.decor", "facebook luna.decor"}


def test_each_of_several_cues_has_its_own_handle() -> None:
    assert found("IG @luna.bakes, FB @lunabreads") == {"instagram luna.bakes", "facebook lunabreads"}


@pytest.mark.parametrize(
    "text",
    [
        "snap: blurry, send again",
        "line: busy",
        "Facebook: sí",
        "my ig is private",
        "fb Luna Clara Moon",
        "line id: please wait",
        "1.Happy face 2.Sad face 3.Kind",
        "wechat id: later",
        "fb: tomorrow",
        "@luna.decor is this available?",
        "tiktok @luna.decor",
        "Telegram: @luna_decor",
        "get off at Circle Line @Station",
        "size X: M",
        "オンラインで luna_9",
        "face-to-face_meeting",
        "v2.4.1 of the fb app",
        "ig 20.000",
        "snap 10pm",
        "ig @ab",
        "on fb pls.thanks",
    ],
)
def test_ordinary_words_are_no_handle(text: str) -> None:
    assert found(text) == set()


@pytest.mark.parametrize(
    ("country", "text", "wanted"),
    [
        ("TH", "ไลน์ 081-234-5678", {"line 0812345678"}),
        ("SG", "微信 13800138000", {"wechat 13800138000"}),
        ("SG", "微信同号 9123 4567", {"wechat 91234567", "phone +6591234567"}),
        ("SG", "电话9123 4567（微信同号）", {"wechat 91234567", "phone +6591234567"}),
        ("KE", "my line is 0712 345 678", {"phone +254712345678"}),
        ("AU", "my work line: 0412 345 678", {"phone +61412345678"}),
    ],
)
def test_a_number_after_line_or_wechat_is_that_field(country: str, text: str, wanted: set[str]) -> None:
    assert found(text, country) == wanted
