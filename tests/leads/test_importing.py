"""A file of leads through its pages: what its columns hold, and what becomes of each row."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import Refused
from contatto.kit.languages import sorted_countries, translator_for
from contatto.kit.table_export import write_sheet
from contatto.leads.actions.jobs import (
    keep_import_draft,
    load_import_draft,
    load_rejects,
    plan_import,
    purge_imports,
    start_job,
    undo_job,
)
from contatto.leads.model import Actor, JobKind, Lead, LeadStatus, Note
from contatto.leads.rules.importing import guess_columns, read_entry, read_sheet
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store import listing
from contatto.leads.store.jobs import find_job
from contatto.leads.store.listing import list_contact_points, list_labels_of
from contatto.leads.store.records import list_work
from contatto.leads.store.tables import lead_jobs
from tests import make
from tests.background import work_off
from tests.journeys.running import EMAIL, House, csrf_of, running_house, until, weak_hash

HEADS = {
    "en": ("Full Name", "E-mail address", "Mobile Number", "Tel.", "Status", "Remarks", "Assigned to"),
    "ar": ("الاسم الكامل", "البريد الإلكتروني", "رقم الجوال", "هاتف", "الحالة", "ملاحظات", "المسؤول"),
    "es": ("Nombre", "Correo electrónico", "Móvil", "Nº teléfono", "Estado", "Notas", "Propietario"),
    "id": ("Nama Lengkap", "Alamat Email", "No. HP", "Nomor Telepon", "Tahap", "Catatan", "Pemilik"),
    "it": ("Nome e cognome", "Indirizzo e-mail", "Cellulare", "N. tel.", "Stato", "Note", "Venditore"),
    "ja": ("氏名", "メールアドレス", "携帯電話番号", "電話番号", "ステータス", "備考", "担当者"),
    "pt-BR": ("Nome", "Endereço de e-mail", "Celular", "Telefone", "Situação", "Observações", "Dono"),
    "th": ("ชื่อ-นามสกุล", "อีเมล", "เบอร์มือถือ", "โทรศัพท์", "สถานะ", "หมายเหตุ", "ผู้รับผิดชอบ"),
    "vi": ("Họ và tên", "Địa chỉ email", "Số di động", "Điện thoại", "Trạng thái", "Ghi chú", "Phụ trách"),
}  # fmt: skip
HEADS |= {
    "de": ("Vollständiger Name", "E-Mail-Adresse", "Handynummer", "Telefon", "Phase", "Notizen", "Zuständig"),
    "fr": ("Nom complet", "Adresse e-mail", "Portable", "Téléphone", "Statut", "Remarques", "Propriétaire"),
    "zh": ("姓名", "电子邮箱", "手机号码", "电话", "状态", "备注", "负责人"),
}  # fmt: skip
HELD = ("name", "email", "phone", "phone", "status", "notes", "owner")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def send_text(house: House, text: str, country: str = "SG") -> tuple[str, str]:
    """Paste a text; where it is shown, and how."""
    token = csrf_of(house.client.get("/leads/import").text)
    sent = {"text": text, "country": country, "csrf_token": token}
    answer = house.client.post("/leads/import", data=sent)
    return answer.url.path, answer.text


def send_file(house: House, raw: bytes, country: str = "SG") -> tuple[int, str]:
    """What the page's script does with a chosen file; where it is shown, or why it is refused."""
    token = csrf_of(house.client.get("/leads/import").text)
    answer = house.client.post(
        "/leads/import/file", params={"country": country}, content=raw, headers={"X-CSRF-Token": token}
    )
    return answer.status_code, answer.json()["href"] if answer.status_code == 200 else answer.text


def start(house: House, path: str) -> str:
    """Start an import and wait for its end; the page of the job."""
    token = csrf_of(house.client.get("/leads/import").text)
    job = house.client.post(f"{path}/start", data={"csrf_token": token}).url.path
    assert until(lambda: "<progress" not in page_of(house, job))
    return page_of(house, job)


def page_of(house: House, path: str) -> str:
    return house.client.get(path).text


def people(house: House) -> dict[str, tuple[Lead, set[str]]]:
    def read(tx):  # type: ignore[no-untyped-def]
        found = listing.list_leads(tx, house.business_id, LeadFilter())
        points = list_contact_points(tx, house.business_id, {lead.id for lead in found})
        return {lead.name: (lead, {point.value for point in points[lead.id]}) for lead in found}

    return house.context.db.read_now(read)


@pytest.mark.parametrize("language", HEADS)
def test_heads_are_known_in_twelve_languages(language: str) -> None:
    assert guess_columns(HEADS[language], []) == HELD
    assert guess_columns([head.upper() + " *" for head in HEADS[language]], []) == HELD


def test_a_column_without_a_known_head_is_known_by_what_is_in_it() -> None:
    rows = [("a@example.com", "+39 331 234 5678", "38", ""), ("b@example.com", "0039 331 2345679", "40", "")]
    assert guess_columns(("Where", "Line 2b", "Size", ""), rows) == ("email", "phone", "", "")


@pytest.mark.parametrize(
    ("text", "status"),
    [("Contattato", "contacted"), ("ปิดการขาย", "converted"), ("Closed - Won", "converted"), ("NEW", "raw"),
     ("غير مؤهل", "unqualified"), ("Đạt chuẩn", "qualified"), ("見込みなし", "unqualified")],
)  # fmt: skip
def test_a_status_is_read_in_any_of_the_languages(text: str, status: str) -> None:
    entry = read_entry(("phone", "status"), ("+6591234567", text), "SG")
    assert entry.status is LeadStatus(status)


def test_every_column_is_shown_with_what_it_holds_and_two_for_one_are_both_taken(house: House) -> None:
    text = (
        "Full Name,Mobile Number,Tel.,E-mail address,Shoe size\nMei,9123 4567,6222 1111,mei@example.com,38\n"
    )
    path, page = send_text(house, text)
    assert "1 new, 0 updated, 0 skipped" in page
    assert page.count("Two columns have the same meaning. Both are imported.") == 2
    lost = page.split('id="not-taken"')[1].split("</p>")[0]
    assert "Shoe size" in lost
    assert "Mobile" not in lost
    assert page.index("Import now") < page.index("Columns")
    start(house, path)
    assert people(house)["Mei"][1] == {"+6591234567", "+6562221111", "mei@example.com"}


def test_columns_can_be_chosen_anew_and_at_least_one_must_hold_a_contact(house: House) -> None:
    path, page = send_text(house, "Who,Reach\nMei,9123 4567\nBo,9123 4568\n")
    assert "Choose at least one column" in page
    token = csrf_of(page)
    answer = house.client.post(path, data={"csrf_token": token, "country": "SG", "column": ["name", ""]})
    assert (answer.status_code, "Choose at least one column" in answer.text) == (422, True)
    answer = house.client.post(path, data={"csrf_token": token, "country": "SG", "column": ["name", "phone"]})
    assert "2 new, 0 updated, 0 skipped" in answer.text
    start(house, path)
    assert set(people(house)) == {"Mei", "Bo"}


def test_a_row_keeps_what_is_good_and_its_bad_cell_comes_back_in_a_file_to_mend(house: House) -> None:
    rows = [f"P{n},{'nonsense' if n % 4 else f'9123 4{n:03}'},p{n}@example.com" for n in range(40)]
    path, page = send_text(house, "\n".join(["name,phone,email", *rows, "Nobody,12,"]))
    assert "40 new, 0 updated, 1 skipped" in page
    assert "30 partly imported" in page
    job = start(house, path)
    assert "40 new, 0 updated, 1 skipped" in job
    assert len(people(house)) == 40
    rejects = re.findall(r'href="(/leads/jobs/[0-9a-f-]+/rejects)"', job)[0]
    table = list(csv.reader(io.StringIO(house.client.get(rejects).text.removeprefix("\ufeff"))))
    assert table[0] == ["name", "phone", "email", "contatto: why"]
    assert len(table) == 1 + 30 + 1
    assert table[1][0] == "P1"
    assert "This is not a phone number" in table[1][3]
    # mended and sent again: each row finds its lead, and the column of reasons is not imported
    mended = io.StringIO()
    csv.writer(mended).writerows(
        [[*row[:1], f"9123 5{n:03}", *row[2:]] if n else row for n, row in enumerate(table)]
    )
    path, page = send_text(house, mended.getvalue())
    assert "1 new, 30 updated, 0 skipped" in page
    start(house, path)
    assert people(house)["P1"][1] == {"p1@example.com", "+6591235001"}


def test_status_notes_owner_and_labels_are_taken_and_undone_with_the_import(house: House) -> None:
    text = (
        "name,phone,status,notes,owner,labels\n"
        f"Mei,9123 4567,Contattato,call after five,{EMAIL},vip\n"
        "Bo,9123 4568,strange,,Stranger,\n"
    )
    path, page = send_text(house, text)
    assert "2 new, 0 updated, 0 skipped" in page
    job = start(house, path)
    mei, bo = people(house)["Mei"][0], people(house)["Bo"][0]
    assert (mei.status, bo.status) == (LeadStatus.CONTACTED, LeadStatus.RAW)
    assert (mei.owner_id is not None, bo.owner_id) == (True, None)
    assert "Unknown status." in job
    assert "The owner is not a member who can open leads." in job
    page = page_of(house, f"/leads/{mei.id}")
    assert "call after five" in page
    assert "vip" in page
    path, _ = send_text(house, text)
    start(house, path)
    assert page_of(house, f"/leads/{mei.id}").count('id="note-') == page.count('id="note-')
    token = csrf_of(page)
    first = re.findall(r"/leads/jobs/([0-9a-f-]+)/rejects", job)[0]
    house.client.post(f"/leads/jobs/{first}/undo", data={"csrf_token": token})
    # the second import has added its evidence, so the leads stay, as they were
    assert set(people(house)) == {"Mei", "Bo"}


def test_an_analyst_cannot_become_an_owner_by_a_file(house: House) -> None:
    new = NewMember("ana@example.com", "Ana", Role.ANALYST)
    hashed = weak_hash("a long enough password")
    house.context.db.write_now(lambda tx: accounts.add_member(tx, house.business_id, new, hashed))  # type: ignore[arg-type]
    path, page = send_text(house, "name,phone,owner\nMei,9123 4567,Ana\n")
    assert "The owner is not a member who can open leads." in page
    start(house, path)
    assert people(house)["Mei"][0].owner_id is None


def test_a_workbook_is_read_with_its_numbers_whole(house: House, tmp_path: Path) -> None:
    file = tmp_path / "leads.xlsx"
    write_sheet(file, ["Nome", "Cellulare", "Posta elettronica"],
                [["Anna", "393312345678", "anna@example.com"], ["Bea", "", "bea@example.com"]],
                numbers={1})  # fmt: skip
    code, path = send_file(house, file.read_bytes(), "IT")
    assert code == 200
    assert "2 new, 0 updated, 0 skipped" in page_of(house, path)
    start(house, path)
    assert people(house)["Anna"][1] == {"+393312345678", "anna@example.com"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_text_is_read_in_the_encodings_that_spreadsheets_write(house: House, encoding: str) -> None:
    code, path = send_file(house, "Nombre;Teléfono\nJosé Núñez;+34 612 345 678\n".encode(encoding))
    assert code == 200
    start(house, path)
    assert people(house)["José Núñez"][1] == {"+34612345678"}


@pytest.mark.parametrize(
    ("encoding", "country", "lines"),
    [
        ("cp932", "JP", ["氏名,電話番号", "山田太郎,+81 90 1234 5678", "髙橋能子,+81 80 2345 6789"]),
        ("cp874", "TH", ["ชื่อ,เบอร์โทร", "สมชาย ใจดี,+66 81 234 5678", "สมหญิง รักไทย,+66 89 876 5432"]),
        ("cp1256", "AE", ["الاسم;رقم الهاتف", "أحمد علي;+971 50 123 4567", "فاطمة حسن;+971 55 987 6543"]),
        ("gb18030", "SG", ["姓名,电话", "王小明,+86 138 0013 8000", "李华,+86 139 0013 9000"]),
        ("utf-16", "JP", ["氏名\t電話番号", "山田太郎\t+81 90 1234 5678", "สมชาย\t+66 81 234 5678"]),
    ],
)
def test_small_files_of_excel_in_other_scripts_are_imported(
    house: House, encoding: str, country: str, lines: list[str]
) -> None:
    code, path = send_file(house, "".join(f"{line}\r\n" for line in lines).encode(encoding), country)
    assert code == 200
    start(house, path)
    names = {re.split("[,;\t]", line)[0] for line in lines[1:]}
    assert {name for name, (_, details) in people(house).items() if details} == names


def test_a_wrong_encoding_is_shown_and_can_be_changed_before_the_import(house: House) -> None:
    code, path = send_file(house, "Name;Telefon\nРусский;+34612345678\n".encode("cp1251"))
    assert code == 200
    plan = house.context.db.read_now(lambda tx: find_job(tx, house.business_id, path.rpartition("/")[2]))
    assert plan is not None
    assert f'<option value="{plan.plan.encoding}" selected>' in page_of(house, path)
    token = csrf_of(page_of(house, path))
    for encoding, name in (("cp1253", "Рус".encode("cp1251").decode("cp1253")), ("cp1251", "Русский")):
        sent = {"csrf_token": token, "encoding": encoding, "column": list(plan.plan.columns), "country": "SG"}
        assert name in house.client.post(path, data=sent).text
    refused = house.client.post(path, data=sent | {"encoding": "utf_8"})
    assert refused.status_code == 422
    assert "cannot be read in this encoding" in refused.text
    start(house, path)
    assert set(people(house)) == {"Русский"}


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("mailto:anna@example.com", {"anna@example.com"}),
        ("MAILTO:anna%40example.com?subject=Hi", {"anna@example.com"}),
        ("<anna@example.com>", {"anna@example.com"}),
        ("Anna Bianchi <anna@example.com>", {"anna@example.com"}),
        (
            '"Bianchi, Anna" <anna@example.com>; Bob <mailto:bob@example.com>',
            {"anna@example.com", "bob@example.com"},
        ),
    ],
)
def test_addresses_are_read_as_links_and_with_names(text: str, details: set[str]) -> None:
    entry = read_entry(["email"], [text], "IT")
    assert {contact.value for contact in entry.contacts} == details
    assert entry.problems == ()
    assert guess_columns(["?"], [(text,)]) == ("email",)


@pytest.mark.parametrize("text", ["tel:+39-331-234-5678", "TEL:+393312345678;ext=12", "callto:3312345678"])
def test_numbers_are_read_as_links(text: str) -> None:
    entry = read_entry(["phone"], [text], "IT")
    assert [contact.value for contact in entry.contacts] == ["+393312345678"]
    assert entry.problems == ()


def test_countries_are_sorted_by_name_in_the_language_of_the_reader(house: House) -> None:
    assert sorted_countries(translator_for("en"), ["ZA", "DE", "AX", "AF"]) == ["AF", "AX", "DE", "ZA"]
    assert sorted_countries(translator_for("es"), ["EC", "EG", "AE", "DE"]) == ["DE", "EC", "EG", "AE"]
    assert sorted_countries(translator_for("th"), ["DE", "KE", "BR"]) == ["KE", "BR", "DE"]
    page = page_of(house, "/leads/import")
    assert (
        page.index('value="DZ"')
        < page.index('value="AR"')
        < page.index('value="DE"')
        < page.index('value="CH"')
    )


@pytest.mark.parametrize(
    "raw",
    [b"PK\x03\x04 no workbook", b"", b"PK\x03\x04" + b"\0" * 5_000, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"],
)
def test_a_broken_workbook_is_refused_and_nothing_is_kept(house: House, raw: bytes) -> None:
    assert send_file(house, raw)[0] == 422
    drafts = house.context.db.read_now(lambda tx: tx.execute(lead_jobs.select()).all())
    assert drafts == []


def test_a_file_beyond_the_limit_is_refused(house: House) -> None:
    assert send_file(house, b"phone\n" + b"+6591234567\n" * 400_000)[0] in (413, 422)


def test_what_a_member_looks_at_is_seen_by_nobody_else(house: House) -> None:
    path, _ = send_text(house, "name,phone\nMei,9123 4567\n")
    new = NewMember("manager@example.com", "Manager", Role.MANAGER)
    hashed = weak_hash("a long enough password")
    house.context.db.write_now(lambda tx: accounts.add_member(tx, house.business_id, new, hashed))  # type: ignore[arg-type]
    house.client.cookies.clear()
    token = csrf_of(page_of(house, "/login"))
    form = {"email": new.email, "password": "a long enough password", "csrf_token": token}
    house.client.post("/login", data=form)
    assert house.client.get(path).status_code == 404
    token = csrf_of(page_of(house, "/leads"))
    assert house.client.post(f"{path}/start", data={"csrf_token": token}).status_code == 404


def test_a_second_press_of_the_button_imports_nothing_twice(house: House) -> None:
    path, _ = send_text(house, "name,phone\nMei,9123 4567\n")
    token = csrf_of(page_of(house, path))
    for _ in range(2):
        answer = house.client.post(f"{path}/start", data={"csrf_token": token}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"].startswith("/leads/jobs/")) == (303, True)
    assert until(lambda: "1 new, 0 updated" in page_of(house, path.replace("/import/", "/jobs/")))


def test_two_thousand_rows_are_a_short_page_with_the_button_before_them(house: House) -> None:
    rows = "".join(f"P{n},+65 91{n:06},bad{n}\n" for n in range(2_000))
    _, page = send_text(house, "name,phone,email\n" + rows)
    assert "2,000 new, 0 updated, 0 skipped" in page
    assert page.count("<tr>") < 100
    assert page.index("Import now") < page.index("<tbody>")


def actor_of(database: Database) -> Actor:
    def build(tx):  # type: ignore[no-untyped-def]
        business = make.business(tx)
        return Actor(business.id, make.member(tx, business.id).id, "Owner")

    return database.write_now(build)


def test_a_member_keeps_one_unstarted_file_and_it_goes_after_a_day(
    database: Database, clock: FixedClock
) -> None:
    actor = actor_of(database)
    sheet = read_sheet("phone\n+6591234567\n")
    first, second = (
        database.write_now(lambda tx: keep_import_draft(tx, actor, plan_import(sheet, "SG")))
        for _ in range(2)
    )
    with pytest.raises(Refused, match="expired"):
        database.read_now(lambda tx: load_import_draft(tx, actor, first.id))
    work_off(database)
    assert database.read_now(lambda tx: listing.count_leads(tx, actor.business_id, LeadFilter())) == 0
    clock.advance(days=2)
    assert database.write_now(purge_imports) == 1
    with pytest.raises(Refused, match="expired"):
        database.read_now(lambda tx: load_import_draft(tx, actor, second.id))


def test_rows_that_were_left_out_are_kept_for_a_week_and_no_others(
    database: Database, clock: FixedClock
) -> None:
    actor = actor_of(database)
    plan = plan_import(read_sheet("name,phone\nMei,+6591234567\nBo,12\n"), "SG")
    job = database.write_now(lambda tx: start_job(tx, actor, JobKind.IMPORT, plan))
    work_off(database)
    kept, _ = database.read_now(lambda tx: load_rejects(tx, actor.business_id, job.id))
    assert (kept.rows, kept.numbers) == ((("Bo", "12"),), (2,))
    clock.advance(days=8)
    database.write_now(purge_imports)
    with pytest.raises(Refused, match="expired"):
        database.read_now(lambda tx: load_rejects(tx, actor.business_id, job.id))


def test_an_undone_import_takes_back_what_it_did_to_leads_that_were_there(database: Database) -> None:
    actor = actor_of(database)
    lead = database.write_now(lambda tx: make.lead(tx, actor.business_id, make.contact("+6591234567")))
    text = "phone,status,notes,owner,labels\n+6591234567,Qualified,hello,Owner,vip\n"
    plan = plan_import(read_sheet(text), "SG")
    job = database.write_now(lambda tx: start_job(tx, actor, JobKind.IMPORT, plan))
    work_off(database)

    def state():  # type: ignore[no-untyped-def]
        def read(tx):  # type: ignore[no-untyped-def]
            [found] = listing.list_leads(tx, actor.business_id, LeadFilter())
            labels = list_labels_of(tx, actor.business_id, [found.id])[found.id]
            notes = list_work(tx, actor.business_id, found.id, Note)
            return found.status.value, found.owner_id, [each.name for each in labels], [n.text for n in notes]

        return database.read_now(read)

    assert state() == ("qualified", actor.member_id, ["vip"], ["hello"])
    database.write_now(lambda tx: undo_job(tx, actor, job.id))
    work_off(database)
    assert state() == ("raw", lead.owner_id, [], [])
