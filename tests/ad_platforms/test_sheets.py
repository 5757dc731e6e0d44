"""Exports of Ads Managers: heads in nine languages, numbers and days, and each row or why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.ad_platforms.model import AdDay
from contatto.ad_platforms.rules import HEADERS, AdSheet, Column, read_ad_sheet
from contatto.kit.errors import Refused

HEAD = "Campaign name,Campaign ID,Ad group name,Ad name,Ad ID,By Day,Cost,Impressions,Clicks,Currency"
LANGUAGES = {
    "en, TikTok": (
        "Campaign name,Ad Group Name,Ad Name,Ad ID,By Day,Cost,Impressions,Clicks (Destination),Currency"
    ),
    "en, Meta": (
        "Campaign name,Ad set name,Ad name,Ad ID,Day,Amount spent (SGD),Impressions,Clicks (all),Currency"
    ),
    "it": (
        "Nome della campagna,Nome del gruppo di inserzioni,Nome inserzione,ID inserzione,"
        "Giorno,Importo speso (SGD),Impression,Clic (tutti),Valuta"
    ),
    "es": (
        "Nombre de la campaña,Nombre del conjunto de anuncios,Nombre del anuncio,Identificador del anuncio,"
        "Día,Importe gastado (SGD),Impresiones,Clics (todos),Divisa"
    ),
    "pt-BR": (
        "Nome da campanha,Nome do conjunto de anúncios,Nome do anúncio,Identificação do anúncio,"
        "Dia,Valor usado (SGD),Impressões,Cliques (todos),Moeda"
    ),
    "id": (
        "Nama Kampanye,Nama Set Iklan,Nama Iklan,ID Iklan,"
        "Hari,Jumlah yang dibelanjakan (SGD),Impresi,Klik (Semua),Mata Uang"
    ),
    "th": ("ชื่อแคมเปญ,ชื่อชุดโฆษณา,ชื่อโฆษณา,ID โฆษณา,วัน,จำนวนเงินที่ใช้จ่ายไป (SGD),อิมเพรสชั่น,คลิก (ทั้งหมด),สกุลเงิน"),
    "vi": (
        "Tên chiến dịch,Tên nhóm quảng cáo,Tên quảng cáo,ID quảng cáo,"
        "Ngày,Số tiền đã chi tiêu (SGD),Lượt hiển thị,Lượt nhấp,Đơn vị tiền tệ"
    ),
    "ja": (
        "キャンペーン名,広告セット名,広告名,広告ID,日,消化金額 (SGD),インプレッション,クリック(すべて),通貨"
    ),
    "ar": (
        "اسم الحملة,اسم المجموعة الإعلانية,اسم الإعلان,معرّف الإعلان,"
        "اليوم,المبلغ الذي تم إنفاقه (SGD),مرات الظهور,النقرات (الكل),العملة"
    ),
}


def read(*lines: str, head: str = "Ad name,Ad ID,Day,Cost,Impressions,Clicks", **names: int) -> AdSheet:
    return read_ad_sheet("\n".join((head, *lines)), names)


def reasons(sheet: AdSheet) -> dict[int, str]:
    return {one.number: one.reason.text for one in sheet.left_out}


@pytest.mark.parametrize("language", LANGUAGES)
def test_heads_are_read_in_every_language(language: str) -> None:
    row = "Spring,Chats,Cat,1801234567890123456,2026-01-05,12.50,400,9,SGD"
    (found,) = read(row, head=LANGUAGES[language]).rows
    assert found.day == AdDay(1801234567890123456, "2026-01-05", 12_500_000, 400, 9)
    assert (found.campaign_name, found.ad_group_name, found.ad_name) == ("Spring", "Chats", "Cat")
    assert found.currency == "SGD"


def test_no_name_of_a_column_stands_for_two() -> None:
    assert len(HEADERS) > 250
    assert set(HEADERS.values()) == set(Column)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("12.5", 12_500_000),
        ('"12,50"', 12_500_000),
        ('"1,234.56"', 1_234_560_000),
        ('"1.234,56"', 1_234_560_000),
        ("1 234.56", 1_234_560_000),
        ("1\u00a0234\u202f567", 1_234_567_000_000),
        ("1.234.567", 1_234_567_000_000),
        ('"1,234,567"', 1_234_567_000_000),
        ("1'234.50", 1_234_500_000),
        ("0", 0),
        ("-", 0),
        ("", 0),
        ("--", 0),
        ("12.50 SGD", 12_500_000),
        ("$12.50", 12_500_000),
        ("0.001", 1_000),
        ("12345.00", 12_345_000_000),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, micros: int) -> None:
    (found,) = read(f"Cat,1,2026-01-05,{text},1,1").rows
    assert found.day.spend_micros == micros


@pytest.mark.parametrize("text", ["much", "1e400", "NaN", "-5", "1-2", "9" * 40, "1.2.3,4,5"])
def test_what_is_no_amount_is_left_out(text: str) -> None:
    assert reasons(read(f'Cat,1,2026-01-05,"{text}",1,1')) == {1: "This is no amount"}


@pytest.mark.parametrize(("other", "micros"), [("1.20", 12_345_000), ('"1,20"', 12_345_000_000)])
def test_what_other_rows_show_tells_a_thousand_from_a_fraction(other: str, micros: int) -> None:
    rows = read("Cat,1,2026-01-05,12.345,1,1", f"Dog,2,2026-01-05,{other},1,1").rows
    assert [row.day.spend_micros for row in rows] == [micros, 1_200_000]


@pytest.mark.parametrize("text", ["12.345", '"12,345"'])
def test_an_amount_that_can_be_read_in_two_ways_is_left_out(text: str) -> None:
    assert reasons(read(f"Cat,1,2026-01-05,{text},1,1")) == {1: "This amount can be read in two ways"}


@pytest.mark.parametrize("text", ["12.345", '"12,345"'])
def test_marks_group_digits_in_a_currency_without_decimals(text: str) -> None:
    head = "Ad name,Ad ID,Day,Cost (JPY),Impressions,Clicks"
    (found,) = read(f'Cat,1,2026-01-05,{text},"1,234",5.0', head=head).rows
    assert found.day == AdDay(1, "2026-01-05", 12_345_000_000, 1_234, 5)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-01-05", "2026-01-05"),
        ("2026/1/5", "2026-01-05"),
        ("2026-01-05 00:00:00", "2026-01-05"),
        ("46027", "2026-01-05"),
        ("46027.0", "2026-01-05"),
    ],
)
def test_days_are_read(text: str, day: str) -> None:
    assert read(f"Cat,1,{text},1,1,1").rows[0].day.day == day


@pytest.mark.parametrize(
    "text", ["05/01/2026", "5 Jan", "2026-13-01", "2026-02-30", "1999-01-01", "", "0", "99999"]
)
def test_days_that_could_be_another_are_left_out(text: str) -> None:
    assert list(reasons(read(f"Cat,1,{text},1,1,1"))) == [1]


def test_a_row_without_an_id_is_of_the_one_ad_with_its_name() -> None:
    sheet = read("Cat,,2026-01-05,1,1,1", "Dog,,2026-01-05,1,1,1", Cat=77)
    assert [row.day.ad_number for row in sheet.rows] == [77]
    assert reasons(sheet) == {2: "It has no ad's id, and no one ad has this name"}


def test_parts_of_an_ads_day_are_added_up_and_a_row_again_is_not() -> None:
    sheet = read(
        "Cat,1,2026-01-05,1.00,10,1,feed",
        "Cat,1,2026-01-05,2.00,20,2,search",
        "Cat,1,2026-01-05,2.00,20,2,search",
        head="Ad name,Ad ID,Day,Cost,Impressions,Clicks,Placement",
    )
    assert [row.day for row in sheet.rows] == [AdDay(1, "2026-01-05", 3_000_000, 30, 3)]
    assert reasons(sheet) == {3: "The same row stands above"}


def test_lines_above_the_head_and_a_total_below_are_no_ads() -> None:
    head = "Ad name,Ad ID,Day,Cost,Impressions,Clicks"
    text = f"Report of January\n\n{head}\nCat,ag:1,2026-01-05,1,1,1\nTotal,,,1,1,1\n"
    sheet = read_ad_sheet(text, {})
    assert [row.day.ad_number for row in sheet.rows] == [1]
    assert list(reasons(sheet)) == [2]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_are_parted_by_commas_semicolons_or_tabs(delimiter: str) -> None:
    text = "Ad ID,Day,Cost,Impressions,Clicks\n1,2026-01-05,1.5,1,1".replace(",", delimiter)
    assert read_ad_sheet(f"\ufeff{text}", {}).rows[0].day.spend_micros == 1_500_000


@pytest.mark.parametrize(
    "text", ["", "\n", "Ad ID,Cost\n1,2", "Day,Cost\n2026-01-05,1", "Ad ID,Day,Cost", '"']
)
def test_a_file_without_what_is_needed_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_ad_sheet(text, {})


@given(st.text(max_size=300), st.lists(st.text(max_size=30), max_size=8))
def test_whatever_a_file_holds_it_is_read_or_refused(text: str, cells: list[str]) -> None:
    row = ",".join(f'"{cell}"' for cell in cells)
    for whole in (text, f"{HEAD}\n{text}", f"{HEAD}\n{row}\n{row}x"):
        try:
            sheet = read_ad_sheet(whole, {})
        except Refused:
            continue
        assert all(0 <= one.day.spend_micros < 1 << 63 for one in sheet.rows)
