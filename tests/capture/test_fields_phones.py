import pytest

from contatto.capture.rules import detect_contacts


def found(text: str, country: str) -> set[str]:
    return {f"{match.field.value} {match.value}" for match in detect_contacts(text, country)}


@pytest.mark.parametrize(
    ("country", "text", "value"),
    [
        ("ID", "0812-3456-7890 ya", "+6281234567890"),
        ("ID", "O812-3456-789O ya", "+6281234567890"),
        ("BR", "(11) 96123-4567", "+5511961234567"),
        ("AU", "call (02) 9374 4000 ext 12", "+61293744000"),
        ("JP", "090ー1234ー5678です", "+819012345678"),
        ("TH", "โทร๐๘๑-๒๓๔-๕๖๗๘ค่ะ", "+66812345678"),
        ("SG", "(+65) 9123-4567", "+6591234567"),
        ("SG", "00 65 9123 4567", "+6591234567"),
        ("SG", "9 1 2 3 4 5 6 7", "+6591234567"),
        ("SG", "tel:+6591234567", "+6591234567"),
        ("KE", "my Lagos line is +234 802 803 0474", "+2348028030474"),
        ("PH", "cp# 0917 555 0143", "+639175550143"),
        ("DZ", "0551 23 45 67 (viber)", "+213551234567"),
        ("MY", "hp0123456789", "+60123456789"),
        ("SG", "blk 123 9123 4567", "+6591234567"),
        ("SG", "9123 4567 2 pax", "+6591234567"),
        ("SG", "*9123 4567*", "+6591234567"),
        ("SG", "_9123 4567_", "+6591234567"),
        ("SG", "phone=91234567", "+6591234567"),
        ("ID", "0812 3456 7890 jam 10", "+6281234567890"),
        ("ID", "tgl 24-11-2026 0812 3456 7890", "+6281234567890"),
        ("SG", "(65) 9123 4567 jasmine", "+6591234567"),
        ("SG", "9123 4567 2pm", "+6591234567"),
        ("DZ", "電話は+213 551 23 45 67です", "+213551234567"),
        ("MY", "h/p 012-345 6789", "+60123456789"),
        ("MX", "+52 1 55 8765 4321", "+525587654321"),
    ],
)
def test_a_number_is_read_in_its_usual_forms(country: str, text: str, value: str) -> None:
    assert found(text, country) == {f"phone {value}"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0300 1234567 / 0321 7654321", {"phone +923001234567", "phone +923217654321"}),
        ("0300 1234567, 0321 7654321", {"phone +923001234567", "phone +923217654321"}),
        ("0300-1234567 or 0321-7654321", {"phone +923001234567", "phone +923217654321"}),
        ("tel 0300 1234567 whatsapp 0321 7654321", {"phone +923001234567", "whatsapp +923217654321"}),
    ],
)
def test_several_numbers_in_a_row_are_told_apart(text: str, wanted: set[str]) -> None:
    assert found(text, "PK") == wanted


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("SG", "call or whatsapp 9123 4567"),
        ("SG", "9123 4567 (WA)"),
        ("SG", "9123 4567, same number on whatsapp"),
        ("SG", "wa9123 4567"),
        ("SG", "واتس 9123 4567"),
    ],
)
def test_a_whatsapp_cue_beats_phone(country: str, text: str) -> None:
    assert found(text, country) == {"whatsapp +6591234567"}


@pytest.mark.parametrize(
    ("country", "text", "value"),
    [
        ("MX", "no tengo whatsapp, llámame al 55 1234 5678", "+525512345678"),
        ("ID", "gak ada WA, telpon aja 0812-345-6789", "+628123456789"),
        ("TH", "ไม่มี WhatsApp โทร 081-234-5678", "+66812345678"),
        ("SG", "I don't have whatsapp, 9123 4567", "+6591234567"),
    ],
)
def test_a_negated_cue_does_not_count(country: str, text: str, value: str) -> None:
    assert found(text, country) == {f"phone {value}"}


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("SG", "order no. 91234567"),
        ("SG", "91234567 is my order number"),
        ("TH", "หมายเลขคำสั่งซื้อ0812345678"),
        ("JP", "注文番号09012345678はいつ届きますか"),
        ("SA", "رقم الطلب ٠٥٥١٢٣٤٥٦٧"),
        ("MX", "mi folio es 5512345678"),
        ("ID", "081234567890 nomor pesanan saya"),
        ("VN", "stk 0912345678"),
        ("KH", "លេខគណនី 012345678"),
        ("SG", "#91234567"),
    ],
)
def test_a_labelled_number_is_what_its_label_says(country: str, text: str) -> None:
    assert found(text, country) == set()


def test_one_number_is_vetoed_and_the_other_kept() -> None:
    assert found("order 91234567 is late, call 9876 5432", "SG") == {"phone +6598765432"}
    assert found("ออเดอร์ 0812345678 เบอร์ 0898765432", "TH") == {"phone +66898765432"}


@pytest.mark.parametrize("cue", ["call ", "my number is ", "cp ", "wa "])
def test_a_number_without_its_trunk_prefix_needs_a_cue(cue: str) -> None:
    assert found("917 555 0143", "PH") == set()
    assert {value.split()[1] for value in found(f"{cue}917 555 0143", "PH")} == {"+639175550143"}


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("SG", "S$91234567"),
        ("SG", "91234567 dollars"),
        ("GT", "20261124 0830"),
        ("QA", "44/10/2026"),
        ("SG", "card 4111 1111 1111 1111"),
        ("SV", "DUI 07831456-9"),
        ("CL", "12.345.678-5"),
        ("BR", "529.982.247-25"),
        ("PK", "35517-8117118-4"),
        ("TH", "13.78970 85.31688"),
        ("SG", "IBAN GB82 WEST 1234 5698 7654 32"),
        ("SG", "IMG_91234567.jpg"),
        ("SG", "A91234567"),
        ("SG", "91234567B2"),
        ("SG", "9123****"),
        ("SG", "999"),
        ("ID", "Rp 812.345.678"),
    ],
)
def test_other_figures_are_no_phone(country: str, text: str) -> None:
    assert found(text, country) == set()


def test_a_date_before_a_number_does_not_hide_it() -> None:
    assert found("2026-11-24 91234567", "SG") == {"phone +6591234567"}


@pytest.mark.parametrize(
    ("country", "text", "wanted"),
    [
        ("SG", "no whatsapp 9123 4567", {"phone +6591234567"}),
        ("ID", "no whatsapp 0812-345-6789", {"whatsapp +628123456789"}),
        ("ID", "no wa, telp 0812-345-6789", {"phone +628123456789"}),
        ("BR", "me chama no whatsapp 11 96123-4567", {"whatsapp +5511961234567"}),
    ],
)
def test_no_is_read_in_the_language_of_the_market(country: str, text: str, wanted: set[str]) -> None:
    assert found(text, country) == wanted


@pytest.mark.parametrize(
    ("country", "text", "wanted"),
    [
        ("SG", "whatsapp 9123 4567 or 9876 5432", {"whatsapp +6591234567", "whatsapp +6598765432"}),
        ("PH", "cp 917 555 0143 or 918 555 0143", {"phone +639175550143", "phone +639185550143"}),
        ("SG", "orders 91234567 and 98765432", set()),
        ("SG", "whatsapp 9123 4567 or call 6123 4567", {"whatsapp +6591234567", "phone +6561234567"}),
    ],
)
def test_a_number_joined_to_another_is_of_its_kind(country: str, text: str, wanted: set[str]) -> None:
    assert found(text, country) == wanted


def test_same_number_on_the_next_line_makes_it_whatsapp() -> None:
    assert found("Phone: 9123 4567\nWhatsApp: same number", "SG") == {"whatsapp +6591234567"}


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("AU", "want to place an order 0412 635 987"),
        ("ID", "mau booking kamar 0812-4577-9031"),
        ("MX", "quiero hacer un pedido 55 4172 9903"),
        ("TH", "อยากเปิดบัญชี 081-457-9032"),
        ("ZA", "visa assistance 082 457 7903"),
        ("BR", "loja nova 11 97245-8803"),
        ("MX", "solo 55 4172 9903"),
    ],
)
def test_a_wish_for_a_thing_is_no_label_of_the_digits(country: str, text: str) -> None:
    assert {match.split()[0] for match in found(text, country)} == {"phone"}


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("AU", "want to track my order 0412 635 987"),
        ("ID", "mau cek pesanan saya 0812-4577-9031"),
        ("MX", "quiero saber de mi pedido 55 4172 9903"),
        ("ID", "minta nomor seri laptop 0812-4577-9031"),
        ("SA", "سيريال الجهاز 050 457 7903"),
        ("PH", "gcash 0917 457 9032"),
        ("BR", "meu pix é 11 97245-8803"),
    ],
)
def test_a_label_with_small_words_before_the_digits_vetoes(country: str, text: str) -> None:
    assert found(text, country) == set()


@pytest.mark.parametrize(
    ("country", "text"),
    [
        ("MX", "55 4172 9903 solo llamadas, no whats"),
        ("SA", "الواتس خربان اتصل على 050 457 7903"),
        ("TH", "ไม่มีไลน์ เบอร์ 081-457-9032"),
        ("SG", "no line, call 9123 4567"),
        ("MA", "ma3ndich whatsapp, 3ayet l 0661 45 77 90"),
    ],
)
def test_a_denied_app_leaves_a_phone(country: str, text: str) -> None:
    assert {match.split()[0] for match in found(text, country)} == {"phone"}
