"""Text files in the encodings that spreadsheet programs write, small ones too."""

import pytest

from contatto.kit.errors import Refused
from contatto.kit.languages import languages_of_countries
from contatto.kit.untrusted_files import ENCODINGS, change_encoding, decode_text

FILES = {
    "cp932": (
        "JP",
        "氏名,電話番号\r\n山田太郎,090-1234-5678\r\n佐藤花子,080-2345-6789\r\n鈴木一郎,070-1111-2222\r\n",
    ),
    "cp874": (
        "TH",
        "ชื่อ,เบอร์โทร\r\nสมชาย ใจดี,081-234-5678\r\nสมหญิง รักไทย,089-876-5432\r\nวิชัย ทองดี,086-555-1234\r\n",
    ),
    "cp1256": (
        "AE",
        "الاسم,رقم الهاتف\r\nأحمد علي,0501234567\r\nفاطمة حسن,0559876543\r\nمحمد سالم,0561112222\r\n",
    ),
    "cp1252": (
        "AU",
        "Name;Telefon\r\nJürgen Müller;0151 23456789\r\nFrançois Noël;0151 2345678\r\nZoë Weiß;0151 999\r\n",
    ),
    "gb18030": ("SG", "姓名,电话\r\n王小明,13800138000\r\n李华,13900139000\r\n张伟,13700137000\r\n"),
    "cp1255": ("IL", "שם,טלפון\r\nדוד כהן,0501234567\r\nרות לוי,0529876543\r\nיעל מזרחי,0541112222\r\n"),
}
UNICODE = "氏名,Name\r\nJürgen,สมชาย\r\n"


@pytest.mark.parametrize("encoding", FILES)
@pytest.mark.parametrize("is_cut", [False, True], ids=["three rows", "one row"])
def test_a_small_file_is_read_in_its_encoding(encoding: str, is_cut: bool) -> None:
    country, text = FILES[encoding]
    text = "".join(text.splitlines(keepends=True)[: 2 if is_cut else None])
    table = decode_text(text.encode(encoding), languages_of_countries([country]))
    assert (table.text, table.encoding) == (text, encoding)


@pytest.mark.parametrize("encoding", sorted(FILES.keys() - {"cp1255"}))  # Hebrew needs the hint
@pytest.mark.parametrize("country", ["JP", "TH", "AE", "DE", "SG", "IT"])
def test_a_file_of_some_rows_is_read_for_a_business_of_another_country(encoding: str, country: str) -> None:
    text = FILES[encoding][1]
    assert decode_text(text.encode(encoding), languages_of_countries([country])).text == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_is_read_by_its_mark(encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    assert decode_text(mark + UNICODE.encode(encoding), ["ja"]).text == UNICODE


@pytest.mark.parametrize("raw", [b"\xff\xfea", b"\xef\xbb\xbf\xff", b"\xff\xfe\x00\xd8a\x00"])
def test_what_is_no_text_is_refused_and_no_letter_is_replaced(raw: bytes) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        decode_text(raw)


def test_a_text_is_read_again_in_another_encoding() -> None:
    assert change_encoding("Müller".encode("cp1252").decode("cp1250"), "cp1250", "cp1252") == "Müller"
    assert change_encoding("ж", "cp1251", "cp1252") == "æ"
    for other in ("utf_8", "no-encoding"):
        with pytest.raises(Refused, match="cannot be read"):
            change_encoding("ЖЖ", "cp1251", other)


def test_every_encoding_is_known_to_python() -> None:
    assert all("a".encode(encoding) for encoding in ENCODINGS)
