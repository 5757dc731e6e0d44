"""The daily work with leads as a person does it: a status by mistake, a file, a wrong number, bulk work."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Role
from contatto.kit.table_export import write_sheet
from tests.browser.conftest import Served
from tests.browser.test_leads_center import leads, sign_in
from tests.journeys.running import PASSWORD, weak_hash

pytestmark = pytest.mark.browser


def test_a_status_by_mistake_is_taken_back_and_only_what_may_follow_is_offered(
    served: Served, page: Page
) -> None:
    [lead_id] = leads(served, 1)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/{lead_id}")
    steps = page.get_by_role("form", name="Status")
    expect(steps.get_by_role("button")).to_have_text(
        ["Raw", "Contacted", "Qualified", "Unqualified", "Converted"]
    )
    steps.get_by_role("button", name="Unqualified").click()
    expect(steps.get_by_role("button")).to_have_text(["Unqualified", "Contacted", "Qualified"])
    page.get_by_role("button", name="Undo: Status: Raw → Unqualified").click()
    expect(steps.locator("[aria-current]")).to_have_text("Raw")
    expect(page.locator(".timeline")).to_contain_text("Status change undone: Unqualified → Raw")


def test_who_was_slower_sees_the_lead_as_it_is_and_stays_on_its_page(
    served: Served, browser: Browser
) -> None:
    page = browser.new_page()  # its console tells of the refusal
    [lead_id] = leads(served, 1)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/{lead_id}")
    page.evaluate("document.querySelector('.steps [name=seen]').value = 'converted'")
    page.get_by_role("form", name="Status").get_by_role("button", name="Contacted").click()
    expect(page.get_by_text("Somebody else changed this. The status is now Raw")).to_be_visible()
    expect(page.locator(".steps [name=seen]")).to_have_value("raw")
    page.get_by_role("form", name="Status").get_by_role("button", name="Contacted").click()
    expect(page.locator(".steps [aria-current]")).to_have_text("Contacted")
    page.close()


def test_a_workbook_is_mapped_imported_mended_and_imported_again(
    served: Served, page: Page, tmp_path: Path
) -> None:
    book = tmp_path / "people.xlsx"
    rows = [["Fay", "9200 0001", "fay@example.com", "5"], ["Gus", "nothing", "gus@example.com", "6"],
            ["Hal", "12", "", "7"]]  # fmt: skip
    write_sheet(book, ["Full Name", "Mobile Number", "Where to write", "Size"], rows)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/import")
    page.get_by_label("Country of numbers").select_option("SG")
    page.get_by_label("File", exact=True).set_input_files(book)
    expect(page.get_by_role("heading", level=1)).to_have_text("Preview")
    expect(page.locator("#preview")).to_contain_text("2 new, 0 updated, 1 skipped · 1 partly imported")
    expect(page.locator("#not-taken")).to_contain_text("Size")
    expect(page.get_by_label("Where to write")).to_have_value("email")
    box = page.get_by_role("button", name="Import now").bounding_box()
    assert box
    assert box["y"] < 700
    page.get_by_label("Size").select_option("notes")
    page.get_by_role("button", name="Update preview").click()
    expect(page.locator("#not-taken")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Size")).to_have_value("notes")
    page.get_by_role("button", name="Import now").click()
    expect(page.locator("#job")).to_contain_text("2 new, 0 updated, 1 skipped")
    with page.expect_download() as fetched:
        page.get_by_role("link", name="Download these rows").click()
    rejects = tmp_path / "rejects.csv"
    fetched.value.save_as(rejects)
    text = rejects.read_text("utf-8-sig")
    assert "This is not a phone number" in text
    rejects.write_text(text.replace("nothing", "9200 0002").replace(",12,", ",9200 0003,"))
    page.get_by_role("link", name="Import the corrected file").click()
    page.get_by_label("Country of numbers").select_option("SG")
    page.get_by_label("File", exact=True).set_input_files(rejects)
    expect(page.locator("#preview")).to_contain_text("1 new, 1 updated, 0 skipped")
    page.get_by_role("button", name="Import now").click()
    expect(page.locator("#job")).to_contain_text("1 new, 1 updated, 0 skipped")


def test_a_file_that_is_none_is_refused_on_the_spot(served: Served, browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()  # its console tells of the refusal
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"PK\x03\x04 nothing of a workbook")
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/import")
    page.get_by_label("File", exact=True).set_input_files(broken)
    expect(page.get_by_role("alert")).to_contain_text("The file cannot be read")
    expect(page).to_have_url(re.compile("/leads/import(\\?kept=.*)?$"))
    page.close()


def test_a_tab_of_an_analyst_is_not_told_of_leads_by_the_tab_of_another_member(
    served: Served, browser: Browser
) -> None:
    """Both are open in one browser, where one tab listens for all."""
    house = served.house
    new = NewMember("analyst@example.com", "Analyst", Role.ANALYST)
    hashed = weak_hash(PASSWORD)
    house.context.db.write_now(lambda tx: accounts.add_member(tx, house.business_id, new, hashed))  # type: ignore[arg-type]
    context = browser.new_context()
    owners, analysts = context.new_page(), context.new_page()
    sign_in(owners, served.url)
    expect(owners.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    context.clear_cookies()
    for _ in range(5):  # an answer to the other tab may have brought another cookie than that of the form
        analysts.goto(f"{served.url}/login")
        analysts.get_by_label("E-mail").fill(new.email)
        analysts.get_by_label("Password").fill(PASSWORD)
        with analysts.expect_navigation():
            analysts.get_by_role("button", name="Log in").click()
        if analysts.locator("[data-live-state]").count():
            break
    expect(analysts.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    leads(served, 1)
    expect(owners.get_by_text("New lead")).to_be_visible()
    expect(analysts.get_by_text("New lead")).to_have_count(0)
    context.close()


def test_a_number_that_the_customer_called_wrong_gives_way_to_the_right_one(
    served: Served, page: Page
) -> None:
    [lead_id] = leads(served, 1)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/{lead_id}")
    page.get_by_label("New contact detail").fill("9222 3333")
    page.keyboard.press("Enter")
    items = page.locator(".found-item")
    expect(items).to_have_count(2)
    items.first.locator("summary").click()
    items.first.get_by_role("button", name="Mark as wrong").click()
    expect(items.first).to_contain_text("+6592223333")
    expect(items.first).to_contain_text("Main")
    expect(items.last).to_contain_text("Wrong")
    items.first.locator("summary").click()
    items.first.get_by_role("button", name="Not a contact detail").click()
    expect(items).to_have_count(1)
    page.get_by_role("button", name=re.compile("Undo: Not a contact detail")).click()
    expect(items).to_have_count(2)


def test_past_work_is_one_line_above_the_rows_and_counts_agree(served: Served, page: Page) -> None:
    ids = leads(served, 3)
    sign_in(page, served.url)
    for _ in range(2):
        page.goto(f"{served.url}/leads?status=raw")
        page.get_by_role("checkbox", name="Select this page").check()
        page.get_by_label("Label", exact=True).first.fill("vip")
        page.get_by_role("button", name="Add label").click()
        expect(page.locator(".job").first).to_contain_text(re.compile("done|left out"))
    expect(page.locator(".job")).to_have_count(1)
    row = page.locator("#lead-rows > tr").first.bounding_box()
    assert row
    assert row["y"] < 700
    page.get_by_role("checkbox", name="Select Anna").check()
    page.get_by_label("New status").select_option("qualified")
    page.get_by_role("button", name="Set status").click()
    chip = page.locator("#lead-filters .chip", has_text="Raw").locator(".chip__n")
    expect(chip).to_have_text("2")
    expect(page.locator("#nav a[href='/leads'] .count")).to_have_text("2")
    page.locator(".job").get_by_role("button", name="Undo").click()
    expect(page).to_have_url(re.compile(r"/leads\?status=raw"))
    expect(chip).to_have_text("3")
    page.get_by_role("link", name="History").click()
    expect(page.locator(".job")).to_have_count(4)
    assert len(ids) == 3
