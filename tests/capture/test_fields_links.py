import pytest

from contatto.capture.rules import detect_contacts


def found(text: str, country: str = "SG") -> list[str]:
    return [f"{match.field.value} {match.value}" for match in detect_contacts(text, country)]


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("https://www.instagram.com/Luna.Decor/?igsh=x", "instagram luna.decor"),
        ("ig.me/m/luna.decor", "instagram luna.decor"),
        ("https://facebook.com/luna.decor", "facebook luna.decor"),
        ("fb.com/luna.decor", "facebook luna.decor"),
        ("https://id-id.facebook.com/luna.decor/", "facebook luna.decor"),
        ("https://m.facebook.com/profile.php?mibextid=x&id=100004455667788", "facebook 100004455667788"),
        ("https://www.facebook.com/people/Luna-D/100004455667788/", "facebook 100004455667788"),
        ("m.me/luna.decor?ref=x", "messenger luna.decor"),
        ("https://www.messenger.com/t/luna.decor", "messenger luna.decor"),
        ("https://line.me/ti/p/~luna_9", "line luna_9"),
        ("https://line.me/ti/p/AbC-dEf9", "line AbC-dEf9"),
        ("https://line.me/R/ti/p/%40luna9", "line luna9"),
        ("x.com/luna_d?s=21", "twitter luna_d"),
        ("https://mobile.twitter.com/Luna_D", "twitter luna_d"),
        ("https://th.linkedin.com/in/Luna-D-1a2b/", "linkedin luna-d-1a2b"),
        ("linkedin.com/company/luna-decor", "linkedin luna-decor"),
        ("https://weibo.com/u/7788123456", "weibo 7788123456"),
        ("weixin://dl/chat?luna_88", "wechat luna_88"),
        ("https://www.linkedin.com/in/joão-luna/", "linkedin joão-luna"),
        ("https://wa.me/5215587654321", "whatsapp +525587654321"),
        ("https://weibo.com/n/%E5%B0%8F%E6%9C%88", "weibo 小月"),
        ("weibo.com/lunadecor", "weibo lunadecor"),
        ("https://www.snapchat.com/add/Luna.D?share_id=x", "snapchat luna.d"),
        ("https://www.snapchat.com/@luna.d", "snapchat luna.d"),
        ("wa.me/6591234567", "whatsapp +6591234567"),
        ("https://api.whatsapp.com/send/?phone=6591234567&text=hi", "whatsapp +6591234567"),
        ("whatsapp://send?text=hi&phone=6591234567", "whatsapp +6591234567"),
    ],
)
def test_a_link_to_a_person_is_that_contact(link: str, wanted: str) -> None:
    assert found(link) == [wanted]
    assert found(f"see {link}, thanks") == [wanted]


@pytest.mark.parametrize(
    "link",
    [
        "https://www.instagram.com/p/Cabc123/",
        "https://www.instagram.com/luna/p/Cabc123/",
        "instagram.com/stories/luna/123/",
        "www.instagram.com",
        "https://www.facebook.com/groups/91234567",
        "https://www.facebook.com/luna/posts/91234567",
        "https://www.facebook.com/sharer/sharer.php?u=x",
        "https://m.me/",
        "https://x.com/luna/status/91234567",
        "https://twitter.com/search?q=luna",
        "https://www.linkedin.com/jobs/view/91234567",
        "https://weibo.com/7788123456/Nabc",
        "https://www.snapchat.com/spotlight/W7_91234567",
        "https://chat.whatsapp.com/AbC91234567",
        "https://wa.me/message/ABC91234567",
        "https://line.me/ti/g/AbC91234567",
        "https://shop.example.com/91234567",
        "shop.example.com/?tel=91234567",
        "https://t.me/luna_d",
        "https://www.tiktok.com/@luna.d",
        "https://notinstagram.com/luna",
        "https://instagram.com.example.net/luna",
        "https://zalo.me/91234567",
    ],
)
def test_any_other_link_is_nothing(link: str) -> None:
    assert found(link) == []
    assert found(f"see {link}, thanks") == []
