"""Handles of letters alone: statements that name an account, and those that say something else of it."""

import pytest

from contatto.capture.rules import detect_contacts

STATEMENTS = {
    "en": [
        ("my instagram is jensmueller", "instagram"),
        ("My Instagram is LunaDecor", "instagram"),
        ("our ig is lunadecor, thanks", "instagram"),
        ("my insta handle is lunadecor", "instagram"),
        ("my wife's ig is lunadecor", "instagram"),
        ("my ig: lunadecor", "instagram"),
        ('my instagram is "lunadecor"', "instagram"),
        ("lunadecor is my instagram", "instagram"),
        ("my instagram is lunadecor add me", "instagram"),
        ("my snap's lunabakes", "snapchat"),
        ("her facebook is lunadecor", "facebook"),
        ("my messenger is lunadecor", "messenger"),
        ("my line id is lunadecor", "line"),
        ("my twitter is lunadecor", "twitter"),
        ("my X handle is lunadecor", "twitter"),
        ("my linkedin is lunadecor.", "linkedin"),
        ("my weibo is lunadecor", "weibo"),
        ("my wechat is lunadecor", "wechat"),
        ("my snapchat is lunabakes", "snapchat"),
    ],
    "es": [
        ("mi instagram es lunadecor", "instagram"),
        ("mi usuario de instagram es lunadecor", "instagram"),
        ("mi insta se llama lunadecor", "instagram"),
        ("mi face es lunadecor", "facebook"),
        ("nuestro facebook es lunadecor, gracias", "facebook"),
        ("lunadecor es mi insta", "instagram"),
        ("mi snapchat es lunadecor", "snapchat"),
    ],
    "pt": [
        ("meu insta é lunadecor", "instagram"),
        ("meu insta eh lunadecor", "instagram"),
        ("nosso face é lunadecor", "facebook"),
        ("meu snap é lunadecor obrigada", "snapchat"),
        ("lunadecor é meu insta", "instagram"),
    ],
    "it": [
        ("il mio instagram è lunadecor", "instagram"),
        ("il mio instagram e' lunadecor", "instagram"),
        ("il nostro facebook si chiama lunadecor, grazie", "facebook"),
        ("lunadecor è il mio insta", "instagram"),
        ("la mia pagina facebook è lunadecor", "facebook"),
        ("il mio linkedin è lunadecor", "linkedin"),
    ],
    "fr": [
        ("mon insta c'est lunadecor", "instagram"),
        ("notre facebook est lunadecor merci", "facebook"),
    ],
    "id": [
        ("ig saya lunadecor", "instagram"),
        ("instagram saya adalah lunadecor", "instagram"),
        ("instagramku lunadecor", "instagram"),
        ("fb saya namanya lunadecor", "facebook"),
        ("id line saya lunadecor kak", "line"),
        ("lunadecor itu ig saya", "instagram"),
    ],
    "ms": [("ig saya ialah lunadecor", "instagram"), ("fb kami lunadecor", "facebook")],
    "tl": [
        ("ang ig ko ay lunadecor", "instagram"),
        ("fb ko is lunadecor po", "facebook"),
        ("messenger ko lunadecor", "messenger"),
    ],
    "sw": [("instagram yangu ni lunadecor", "instagram"), ("facebook yetu inaitwa lunadecor", "facebook")],
    "vi": [
        ("ig của mình là lunadecor", "instagram"),
        ("instagram em là lunadecor nha", "instagram"),
        ("facebook của em tên lunadecor", "facebook"),
    ],
    "th": [
        ("ไอจีของผมคือ lunadecor", "instagram"),
        ("ไอจีชื่อ lunadecor", "instagram"),
        ("เฟสชื่อ lunadecor ค่ะ", "facebook"),
        ("ไลน์ของหนู lunadecor", "line"),
    ],
    "ja": [
        ("インスタはlunadecorです", "instagram"),
        ("私のインスタは lunadecor です", "instagram"),
        ("ツイッターはlunadecorです", "twitter"),
        ("LINEはlunadecorです", "line"),
        ("lunadecorは私のインスタです", "instagram"),
    ],
    "zh": [
        ("我的ins是lunadecor", "instagram"),
        ("微信号是lunadecor", "wechat"),
        ("我的脸书叫lunadecor", "facebook"),
        ("lunadecor是我的微信", "wechat"),
    ],
    "ko": [("제 인스타는 lunadecor예요", "instagram"), ("내 페북은 lunadecor", "facebook")],
    "ar": [
        ("حسابي انستا lunadecor", "instagram"),
        ("انستقرامي lunadecor", "instagram"),
        ("حسابي في الانستا هو lunadecor", "instagram"),
        ("سنابي lunadecor", "snapchat"),
        ("الفيس بوك باسم lunadecor", "facebook"),
    ],
    "he": [("האינסטגרם שלי הוא lunadecor", "instagram"), ("הפייסבוק שלנו lunadecor", "facebook")],
    "hi": [("मेरा इंस्टा lunadecor है", "instagram"), ("हमारा फेसबुक lunadecor है", "facebook")],
    "ur": [("میرا انسٹا lunadecor ہے", "instagram"), ("mera insta lunadecor hai", "instagram")],
    "ta": [("என் இன்ஸ்டா lunadecor", "instagram"), ("எனது பேஸ்புக் பெயர் lunadecor", "facebook")],
    "si": [("මගේ ඉන්ස්ටා එක lunadecor", "instagram"), ("mage insta eka lunadecor", "instagram")],
    "km": [("ហ្វេសប៊ុកឈ្មោះ lunadecor", "facebook"), ("អ៊ីនស្តារបស់ខ្ញុំគឺ lunadecor", "instagram")],
}
OTHER_STATEMENTS = """my instagram is private
my instagram is down today
my instagram is down
my ig is hacked
my insta is glitching
my instagram is super private
my facebook was hacked
my facebook got hacked yesterday
my facebook is Maria Santos
my instagram is everyone's favourite
my instagram is the same as my facebook
my instagram is under construction
my instagram is not lunadecor
my instagram isn't lunadecor
is my instagram banned?
my face is swollen
my face is lunadecor
my line is engaged
my line is busy
my snap is blurry
my snap: blurry
my instagram is full of flowers
my instagram is about fashion
my instagram is growing
my instagram is inaccessible
our facebook is unavailable
this is my instagram
private is my instagram
your instagram is amazing
instagram is down
instagram is down today
facebook is great
follow us on instagram please
add me on facebook later
my instagram is linked to facebook
my instagram is luna.com
see you on our instagram stories
mi instagram es privado
mi instagram está caído
mi insta es nuevo
mi facebook es Maria Clara
mi face es sensible
mi instagram no es lunadecor
tu instagram es hermoso
mi insta está bloqueado
meu insta é privado
meu instagram está fora do ar
meu insta foi hackeado
meu face é sensivel
meu insta é novo
seu insta é maravilhoso
il mio instagram è privato
il mio instagram è stato hackerato
il mio instagram non è lunadecor
il mio facebook è bloccato
il mio facebook è Maria Bianchi
il tuo instagram è bellissimo
mon insta est prive
mon insta est privé
mon instagram est en panne
mon instagram est bloque
ig saya private
ig saya digembok kak
ig saya kena hack
fb saya error
line saya belum aktif
ig saya hilang
instagram saya sedang diblokir
ig saya peribadi
fb saya digodam
ig ko private
fb ko na hack
ig ko nahack po
wala akong instagram
instagram yangu ni mpya
instagram yangu imefungwa
ig của mình bị khóa
fb của em là trang riêng
instagram em bị hack
ไอจีของผมเป็น private
ไอจีของหนูโดนแฮก
ไลน์ของหนู error ค่ะ
เฟสชื่ออะไรคะ
インスタはprivateです
インスタはやっていません
インスタはlunadecorではありません
私のインスタは非公開です
我的ins是private
我的微信被封了
微信是wechat吗
제 인스타는 private이에요
인스타는 안 해요
حسابي انستا private
انستقرامي مغلق
سنابي معطل
האינסטגרם שלי הוא private
האינסטגרם שלי נחסם
मेरा इंस्टा private है
मेरा इंस्टा नहीं है
mera insta private hai
mera insta hack ho gaya
میرا انسٹا private ہے
என் இன்ஸ்டா private
මගේ ඉන්ස්ටා එක private
mage insta eka hack
ហ្វេសប៊ុកខ្ញុំ private
""".splitlines()


@pytest.mark.parametrize(
    ("text", "field"),
    [case for cases in STATEMENTS.values() for case in cases],
    ids=lambda value: str(value)[:40],
)
def test_a_statement_names_a_handle_of_letters_alone(text: str, field: str) -> None:
    [match] = detect_contacts(text, "SG")
    assert match.field.value == field
    assert match.value in {"lunadecor", "lunabakes", "jensmueller"}
    assert text[match.start : match.end].lower() == match.value


def test_all_languages_of_the_screens_have_statements() -> None:
    assert {"en", "it", "es", "pt", "id", "th", "vi", "ja", "ar"} <= set(STATEMENTS)


@pytest.mark.parametrize("text", OTHER_STATEMENTS)
def test_a_statement_about_an_account_names_no_handle(text: str) -> None:
    assert detect_contacts(text, "SG") == []


def test_one_statement_names_the_handle_of_two_platforms() -> None:
    matches = detect_contacts("my instagram and facebook are lunadecor", "SG")
    assert {(match.field.value, match.value) for match in matches} == {
        ("instagram", "lunadecor"),
        ("facebook", "lunadecor"),
    }


def test_two_statements_name_two_handles_and_a_number_stays_a_phone() -> None:
    text = "my instagram is lunadecor and my snapchat is lunabakes, my number is 9123 4567"
    assert [(match.field.value, match.value) for match in detect_contacts(text, "SG")] == [
        ("instagram", "lunadecor"),
        ("snapchat", "lunabakes"),
        ("phone", "+6591234567"),
    ]
