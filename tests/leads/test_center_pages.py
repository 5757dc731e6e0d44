"""The pages of the Leads Center through the real doors: forms, conflicts, permissions and foreign rows."""

import csv
import io
import re
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.capture.model import Field
from contatto.leads.actions.records import delete_lead
from contatto.leads.pages.center import choices_of
from contatto.leads.store.records import find_lead
from tests import make
from tests.journeys.running import House, csrf_of, running_house, until, weak_hash


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def a_lead(
    house: House, business_id: str | None = None, person_id: str = "p1", contacts: Any = (), **changes: Any
) -> str:
    of = business_id or house.business_id
    return house.context.db.write_now(
        lambda tx: make.lead(
            tx, of, *contacts, person_id=person_id, channel_account_id=house.webchat_id, **changes
        )
    ).id


def post(house: House, path: str, **values: str | list[str]) -> int:
    token = csrf_of(house.client.get("/leads").text)
    return house.client.post(path, data=values | {"csrf_token": token}, follow_redirects=False).status_code


def sign_in_as(house: House, role: Role) -> None:
    new = NewMember(f"{role.value}@example.com", role.value, role)
    hashed = weak_hash("a long enough password")
    house.context.db.write_now(lambda tx: accounts.add_member(tx, house.business_id, new, hashed))  # type: ignore[arg-type]
    house.client.cookies.clear()
    page = house.client.get("/login").text
    form = {"email": new.email, "password": "a long enough password", "csrf_token": csrf_of(page)}
    assert house.client.post("/login", data=form, follow_redirects=False).status_code == 303


def test_notes_tasks_and_labels_show_on_the_lead_and_hostile_ones_as_text(house: House) -> None:
    lead_id = a_lead(house)
    hostile = "<script>alert(1)</script>"
    assert post(house, f"/leads/{lead_id}/notes", text=hostile) == 303
    assert post(house, f"/leads/{lead_id}/tasks", text=hostile, due_on="2026-01-05") == 303
    assert post(house, f"/leads/{lead_id}/labels", name=hostile) == 303
    page = house.client.get(f"/leads/{lead_id}").text
    assert page.count("&lt;script&gt;alert(1)") >= 4
    assert hostile not in page
    assert hostile not in house.client.get("/leads?column=labels").text
    assert hostile not in house.client.get("/leads/views").text


def test_the_second_of_two_who_edit_a_note_gets_a_conflict_that_keeps_the_first(house: House) -> None:
    lead_id = a_lead(house)
    post(house, f"/leads/{lead_id}/notes", text="first")
    note_id = re.findall(r'id="note-([0-9a-f-]{36})"', house.client.get(f"/leads/{lead_id}").text)[0]
    path = f"/leads/{lead_id}/notes/{note_id}"
    assert post(house, path, text="second", seen="0", do="save") == 303
    assert post(house, path, text="third", seen="0", do="save") == 409
    page = house.client.get(f"/leads/{lead_id}").text
    assert "second" in page
    assert "third" not in page


def test_a_form_without_the_token_changes_nothing(house: House) -> None:
    lead_id = a_lead(house)
    for path in ("notes", "tasks", "labels", "owner", "restore"):
        assert (
            house.client.post(f"/leads/{lead_id}/{path}", data={"text": "x", "name": "x"}).status_code == 403
        )


def test_rows_of_another_business_cannot_be_seen_or_changed(house: House) -> None:
    other = house.context.db.write_now(lambda tx: make.business(tx, "Other"))
    foreign = a_lead(house, other.id)
    assert house.client.get(f"/leads/{foreign}").status_code == 404
    for path, values in {
        "notes": {"text": "x"}, "tasks": {"text": "x"}, "labels": {"name": "x"}, "owner": {"owner": ""},
        "restore": {}, "status": {"status": "contacted", "seen": "raw"}, "notes/1": {"text": "x"},
        "tasks/1": {"text": "x"}, "labels/1/remove": {},
    }.items():  # fmt: skip
        assert post(house, f"/leads/{foreign}/{path}", **values) == 404, path
    assert "0 leads" in house.client.get("/leads").text


def test_an_analyst_sees_no_leads_and_an_agent_gets_no_file(house: House) -> None:
    lead_id = a_lead(house)
    sign_in_as(house, Role.AGENT)
    assert 'id="csv"' not in house.client.get("/leads").text
    assert house.client.get("/leads.csv").status_code == 403
    sign_in_as(house, Role.ANALYST)
    for path in ("/leads", "/leads/rows", "/leads/views", f"/leads/{lead_id}", "/leads.csv"):
        assert house.client.get(path).status_code == 403, path


@pytest.mark.parametrize(
    ("role", "home", "offered"),
    [
        (Role.MANAGER, "/home", ["home", "inbox", "leads", "ads", "forms", "reports", "settings"]),
        (Role.AGENT, "/inbox", ["inbox", "leads", "settings"]),
        (Role.ANALYST, "/home", ["home", "ads", "forms", "reports", "settings"]),
    ],
)
def test_each_role_begins_on_a_page_of_its_own_and_is_offered_nothing_that_is_refused(
    house: House, role: Role, home: str, offered: list[str]
) -> None:
    sign_in_as(house, role)
    assert house.client.get("/", follow_redirects=False).headers["location"] == home
    page = house.client.get(home).text
    rail = page.partition('id="nav"')[2].partition("</ul>")[0]
    assert re.findall(r'href="/([a-z]+)"', rail) == offered
    palette = page.partition('id="palette-pages"')[2].partition("</template>")[0]
    tabs = house.client.get("/settings").text.partition('class="seg')[2].partition("</nav>")[0]
    found = set(re.findall(r'href="(/(?!static)[a-z/]*)', rail + palette + tabs))
    assert len(found) >= len(offered)
    assert {path: house.client.get(path).status_code for path in found} == dict.fromkeys(found, 200)


def test_a_saved_view_keeps_only_what_the_grammar_knows(house: House) -> None:
    a_lead(house)
    query = "status=raw&status=nonsense&drop=table&column=owner&q=mei"
    assert post(house, "/leads/views", name="Raw ones", query=query, shared="true") == 303
    bar = house.client.get("/leads/views").text
    assert 'href="/leads?q=mei&amp;status=raw&amp;column=owner"' in bar
    assert re.search(r"Raw ones</span><span class=\"chip__n\">1<", bar)
    view_id = re.findall(r"/leads/views/([0-9a-f-]{36})", bar)[0]
    assert post(house, f"/leads/views/{view_id}", do="delete", query="") == 303
    assert "Raw ones" not in house.client.get("/leads/views").text


def test_a_chip_leads_to_the_list_without_it(house: House) -> None:
    a_lead(house)
    page = house.client.get("/leads?status=raw&country=SG&has=phone&sort=name").text
    assert 'href="/leads?country=SG&amp;has=phone&amp;sort=name"' in page
    assert 'href="/leads?status=raw&amp;country=SG&amp;sort=name"' in page
    assert "1 lead<" in page


def test_ads_of_the_same_name_are_told_apart_in_the_filter(house: House) -> None:
    names = ("Ad of CONVERSATION", "Ad of LEAD_GENERATION")
    for goal in ("CONVERSATION", "LEAD_GENERATION", "CONVERSATION"):
        house.make_ad(goal)
    choices = house.context.db.read_now(lambda tx: choices_of(tx, house.business_id))
    twins, alone = ([text for _, text in choices["ad"] if text.startswith(name)] for name in names)
    assert alone == [names[1]]
    assert [text.partition(" · ")[0] for text in twins] == [names[0]] * 2
    assert all(text.partition(" · ")[2] for text in twins)
    groups = [text for _, text in choices["ad_group"]]
    assert len(set(groups)) == len(groups) == 3


def test_a_phone_an_address_and_whatsapp_are_links_that_a_deleted_lead_and_an_analyst_do_not_show(
    house: House,
) -> None:
    details = (make.contact("+6591234567"), make.contact("mei&co@example.com", Field.EMAIL))
    lead_id = a_lead(house, contacts=details)
    links = ("tel:+6591234567", "https://wa.me/6591234567", "mailto:mei%26co@example.com")
    page = house.client.get(f"/leads/{lead_id}").text
    assert [f'href="{link}"' in page for link in links] == [True] * 3
    assert 'data-copy="mei&amp;co@example.com"' in page
    house.context.db.write_now(
        lambda tx: delete_lead(tx, find_lead(tx, house.business_id, lead_id), "Agent")  # type: ignore[arg-type]
    )
    gone = house.client.get(f"/leads/{lead_id}").text
    assert not any(link in gone for link in links)
    sign_in_as(house, Role.ANALYST)
    refused = house.client.get(f"/leads/{lead_id}")
    assert refused.status_code == 403
    assert not any(link in refused.text for link in links)


def test_a_deleted_lead_says_so_and_can_be_restored(house: House) -> None:

    lead_id = a_lead(house)
    db = house.context.db
    lead = db.read_now(lambda tx: find_lead(tx, house.business_id, lead_id))
    assert lead
    db.write_now(lambda tx: delete_lead(tx, lead, "Owner"))
    assert "This lead was deleted" in house.client.get(f"/leads/{lead_id}").text
    assert post(house, f"/leads/{lead_id}/restore") == 303
    assert "This lead was deleted" not in house.client.get(f"/leads/{lead_id}").text


def wait_for_jobs(house: House) -> str:
    """The bar of jobs once none of them runs."""

    def look() -> str:
        bar: str = house.client.get("/leads/jobs").text
        return bar if 'data-running="true"' not in bar else ""

    return until(look)


def test_a_selection_is_labelled_as_a_job_and_its_undo_takes_the_label_off_again(house: House) -> None:
    ids = [a_lead(house, person_id=f"p{n}") for n in range(3)]
    assert post(house, "/leads/bulk", do="label", label="autumn", ids=ids[:2]) == 303
    bar = wait_for_jobs(house)
    assert "Add label autumn" in bar
    assert "2 done" in bar
    label = re.findall(r'name="label" value="([0-9a-f-]{36})"', house.client.get("/leads").text)[0]
    assert "2 leads<" in house.client.get(f"/leads?label={label}").text
    job_id = re.findall(r"/leads/jobs/([0-9a-f-]{36})/undo", bar)[0]
    assert post(house, f"/leads/jobs/{job_id}/undo") == 303
    wait_for_jobs(house)
    assert "0 leads<" in house.client.get(f"/leads?label={label}").text
    assert post(house, f"/leads/jobs/{job_id}/undo") == 409


def test_all_that_match_means_the_filter_and_not_the_page(house: House) -> None:
    for n in range(60):
        a_lead(house, person_id=f"p{n}")
    assert post(house, "/leads/bulk", do="status", status="contacted", all="true", query="status=raw") == 303
    bar = wait_for_jobs(house)
    assert "60 done" in bar
    assert post(house, "/leads/bulk", do="status", status="contacted") == 422


def test_a_file_holds_the_chosen_leads_with_their_numbers_whole(house: House, tmp_path: Path) -> None:
    ids = [a_lead(house, person_id=f"p{n}", profile_name=f"=Name {n}") for n in range(3)]
    token = csrf_of(house.client.get("/leads").text)
    chosen = {"do": "csv", "ids": ids[1:], "csrf_token": token}
    rows = list(csv.DictReader(io.StringIO(house.client.post("/leads/bulk", data=chosen).text[1:])))
    assert sorted(row["name"] for row in rows) == ["'=Name 1", "'=Name 2"]
    assert {row["phone"] for row in rows} == {"+6591234567"}
    answer = house.client.get("/leads.xlsx")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("+6591234567") == 3
    assert "<f>" not in sheet  # no formula, whatever a name looks like
    assert not list(Path(tempfile.gettempdir()).glob("leads-*.xlsx"))


def test_the_pages_of_jobs_merges_and_imports_know_no_other_business(house: House) -> None:
    other = house.context.db.write_now(lambda tx: make.business(tx, "Other"))
    own, foreign = a_lead(house), a_lead(house, other.id)
    assert house.client.get(f"/leads/{own}/merge/{foreign}").status_code == 404
    sides = {"keep": "one", "name": "one", "status": "one", "owner": "one"}
    assert post(house, f"/leads/{own}/merge/{foreign}", **sides) == 404
    assert post(house, f"/leads/{own}/merges/none/undo") == 404
    assert post(house, "/leads/jobs/none/undo") == 404
    assert house.client.get("/leads/jobs/none").status_code == 404
    assert post(house, "/leads/bulk", do="delete", ids=[foreign]) == 303
    wait_for_jobs(house)
    found = house.context.db.read_now(lambda tx: find_lead(tx, other.id, foreign))
    assert found
    assert found.hidden_at is None


def test_two_leads_are_compared_merged_and_separated_again(house: House) -> None:
    one, other = a_lead(house, profile_name="Mei"), a_lead(house, person_id="p2", profile_name="Mei Lin")
    assert "Compare" in house.client.get(f"/leads/{one}").text
    page = house.client.get(f"/leads/{one}/merge/{other}").text
    assert "1 more on both" in page
    sides = {"keep": "two", "name": "one", "status": "two", "owner": "two", "reason": "same person"}
    assert post(house, f"/leads/{one}/merge/{other}", **sides) == 303
    answer = house.client.get(f"/leads/{one}", follow_redirects=False)
    assert answer.headers["location"] == f"/leads/{other}"
    kept = house.client.get(f"/leads/{other}").text
    assert "same person" in kept
    assert ">Mei</h1>" in kept
    assert "1 lead<" in house.client.get("/leads").text
    merge_id = re.findall(r"/merges/([0-9a-f-]{36})/undo", kept)[0]
    assert post(house, f"/leads/{other}/merges/{merge_id}/undo") == 303
    assert "2 leads<" in house.client.get("/leads").text
    assert "Merge undone" in house.client.get(f"/leads/{other}").text


def test_an_agent_may_work_on_many_leads_but_not_take_them_away(house: House) -> None:
    lead_id = a_lead(house)
    sign_in_as(house, Role.AGENT)
    for do in ("csv", "xlsx"):
        assert post(house, "/leads/bulk", do=do, ids=[lead_id]) == 403
    assert house.client.get("/leads.xlsx").status_code == 403
    assert "/leads.xlsx" not in house.client.get("/leads").text
    assert post(house, "/leads/bulk", do="status", status="contacted", ids=[lead_id]) == 303


def test_the_ads_manager_leads_to_the_leads_of_each_ad(house: House) -> None:
    ad = house.make_ad("LEAD_GENERATION")
    page = house.client.get("/ads").text
    for word, key in (("campaign", "campaign_id"), ("ad_group", "adgroup_id"), ("ad", "ad_id")):
        assert f'href="/leads?{word}={ad[key]}"' in page
        assert f'href="/leads.xlsx?{word}={ad[key]}"' in page


def test_a_lead_tells_which_forms_were_sent_and_leads_to_every_ad_that_the_person_met(house: House) -> None:
    lead_id = a_lead(house, form=("f1", "Viewing <b>", 3, True))
    a_lead(house, source_id="second", form=("f1", "Viewing <b>", 4, False))
    page = house.client.get(f"/leads/{lead_id}").text
    assert "Sent the form Viewing &lt;b&gt;, version 3, and gave consent<" in page
    assert "Sent the form Viewing &lt;b&gt;, version 4<" in page
    [path] = re.findall(r"/reports/conversions/[0-9]+", page)
    assert "Ad history of this person" in house.client.get(path).text
    sign_in_as(house, Role.AGENT)
    assert "/reports/conversions/" not in house.client.get(f"/leads/{lead_id}").text


def test_only_a_test_lead_is_called_one_and_nothing_explains_what_it_did_not_earn(house: House) -> None:
    test_id, real_id = a_lead(house, is_test=True), a_lead(house, person_id="p2")
    page = house.client.get(f"/leads/{test_id}").text
    assert "Test lead" in page
    assert "/reports/conversions/" not in page
    assert "Test lead" not in house.client.get(f"/leads/{real_id}").text
    assert house.client.get("/leads").text.count("Test lead") == 1


def test_three_hundred_values_of_a_filter_are_refused_and_the_most_that_are_allowed_cost_little(
    house: House,
) -> None:
    for number in range(30):
        a_lead(house, person_id=f"p{number}")
    ids = [f"01940000-0000-7000-8000-{number:012}" for number in range(100)]
    house.client.get("/leads")  # what the first page makes ready is not counted

    def asked(pairs: list[tuple[str, str]]) -> tuple[int, float, int]:
        start = time.process_time()
        answer = house.client.get("/leads", params=pairs)
        return answer.status_code, time.process_time() - start, len(answer.content)

    many = [(word, each) for word in ("owner", "label", "form") for each in ids]
    status, took_s, size = asked(many)
    assert (status, size < 20_000) == (422, True)
    assert took_s < 3
    status, took_s, size = asked([*many[:40], *many[100:140], ("any", "1")])
    assert status == 200
    assert size < 500_000
    assert took_s < 5
    for path in ("/leads/rows", "/leads.csv", "/leads/views"):
        assert house.client.get(path, params=many).status_code == 422, path
    assert post(house, "/leads/views", name="X", query="&".join(f"owner={each}" for each in ids)) == 422
    assert post(house, "/leads/views", name="X", query="a&" * 3_000) in (303, 422)


@pytest.mark.parametrize("role", [Role.ANALYST, Role.AGENT])
def test_only_who_may_open_leads_is_offered_as_their_owner(house: House, role: Role) -> None:
    new = NewMember("other@example.com", "Somebody Else", role)
    hashed = weak_hash("a long enough password")
    member = house.context.db.write_now(
        lambda tx: accounts.add_member(tx, house.business_id, new, hashed)  # type: ignore[arg-type]
    )
    lead_id = a_lead(house)
    may_open = role is Role.AGENT
    select = house.client.get(f"/leads/{lead_id}").text.split('id="lead-owner"')[1].split("</select>")[0]
    assert (member.id in select) is may_open
    bulk = house.client.get("/leads").text.split('id="bulk-owner"')[1].split("</select>")[0]
    assert (member.id in bulk) is may_open
    assert post(house, f"/leads/{lead_id}/owner", owner=member.id, seen="") == (303 if may_open else 422)
    assert post(house, "/leads/bulk", do="owner", ids=[lead_id], owner=member.id) == (
        303 if may_open else 422
    )
