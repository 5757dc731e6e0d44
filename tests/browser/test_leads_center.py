"""The Leads Center as people use it: work on one lead, filters, many leads at once, merge, import."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import make
from tests.browser.conftest import Served
from tests.browser.test_every_screen import AXE, RULES
from tests.journeys.running import EMAIL, PASSWORD

pytestmark = pytest.mark.browser


def sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/home"))


def leads(served: Served, count: int) -> list[str]:
    """Leads of Anna, Bea, Carl and so on, each with a number; the first two have the same one."""
    house = served.house
    names = ["Anna", "Bea", "Carl", "Dora", "Emil"]

    def build(tx):  # type: ignore[no-untyped-def]
        return [
            make.lead(
                tx, house.business_id, make.contact(f"+65912{max(n, 1):05}"), person_id=f"p{n}",
                channel_account_id=house.webchat_id, profile_name=names[n],
            ).id
            for n in range(count)
        ]  # fmt: skip

    found: list[str] = house.context.db.write_now(build)
    return found


def test_a_lead_gets_an_owner_a_label_a_note_and_a_task_without_a_reload(served: Served, page: Page) -> None:
    [lead_id] = leads(served, 1)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/{lead_id}")
    page.evaluate("window.sameDocument = true")
    page.get_by_label("Owner").select_option("Owner")
    expect(page.locator(".timeline")).to_contain_text("Owner: Owner")
    page.get_by_label("New label").fill("kitchen")
    page.keyboard.press("Enter")
    expect(page.locator("#lead-labels")).to_contain_text("kitchen")
    page.get_by_label("New note").fill("Calls back after five")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".notes")).to_contain_text("Calls back after five")
    expect(page.get_by_label("New note")).to_have_value("")
    page.get_by_label("New task").fill("Send the offer")
    page.keyboard.press("Enter")
    tick = page.get_by_role("checkbox", name="Send the offer")
    expect(tick).to_have_attribute("aria-checked", "false")
    tick.press("Space")
    expect(page.get_by_role("checkbox", name="Send the offer")).to_have_attribute("aria-checked", "true")
    assert page.evaluate("window.sameDocument")


def test_a_phone_is_called_and_copied_with_the_keyboard_alone(served: Served, page: Page) -> None:
    [lead_id] = leads(served, 1)
    sign_in(page, served.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=served.url)
    page.goto(f"{served.url}/leads/{lead_id}")
    link = page.get_by_role("link", name="+6591200001").first
    expect(link).to_have_attribute("href", "tel:+6591200001")
    link.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy Phone")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "+6591200001"
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Write on WhatsApp")).to_be_focused()


def test_what_one_member_types_stays_while_another_changes_the_lead(
    served: Served, page: Page, browser: Browser
) -> None:
    [lead_id] = leads(served, 1)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/{lead_id}")
    expect(page.locator("[data-live-state]").first).to_have_attribute("data-state", "on")
    page.get_by_label("New note").fill("half a sent")
    other = browser.new_context().new_page()
    sign_in(other, served.url)
    other.goto(f"{served.url}/leads/{lead_id}")
    other.get_by_role("button", name="Contacted", exact=True).click()
    other.get_by_label("New note").fill("a note of the other")
    other.get_by_role("button", name="Add note").click()
    expect(page.locator(".notes")).to_contain_text("a note of the other")
    expect(page.get_by_label("New note")).to_have_value("half a sent")
    expect(page.get_by_role("button", name="Contacted", exact=True)).to_have_attribute("aria-current", "step")
    other.context.close()


def test_filters_show_as_chips_and_in_the_address_and_are_kept_as_a_view(served: Served, page: Page) -> None:
    leads(served, 3)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads")
    expect(page.locator("#lead-total")).to_have_text("3 leads")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Possible duplicates").check()
    expect(page.locator("#lead-total")).to_have_text("2 leads")
    expect(page).to_have_url(re.compile(r"/leads\?twins=1$"))
    page.keyboard.press("Escape")
    page.get_by_label("Search leads").fill("bea")
    expect(page.locator("#lead-total")).to_have_text("1 lead")
    page.get_by_text("Save view").click()
    page.get_by_label("Name of the view").fill("Twins of Bea")
    page.get_by_role("button", name="Save", exact=True).click()
    view = page.locator(".view", has_text="Twins of Bea")
    expect(view).to_have_text(re.compile("1$"))
    expect(view).to_have_attribute("aria-current", "page")
    page.locator("#lead-chips a").first.click()
    expect(page).to_have_url(re.compile(r"/leads\?q=bea$"))


def test_rows_are_chosen_by_keyboard_and_their_work_is_undone(served: Served, page: Page) -> None:
    leads(served, 3)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads?sort=name")
    expect(page.locator("#lead-total")).to_have_text("3 leads")
    for key in ("j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("[data-picked]")).to_have_text("Selected leads: 2")
    page.get_by_label("New status").select_option("qualified")
    page.get_by_role("button", name="Set status").press("Enter")
    job = page.locator(".job").first
    expect(job).to_contain_text("2 done")
    expect(page.locator("#lead-rows .badge--qualified")).to_have_count(2)
    job.get_by_role("button", name="Undo").press("Enter")
    expect(page.locator(".job", has_text="Undo").first).to_contain_text("2 done")
    expect(page.locator("#lead-rows .badge--raw")).to_have_count(3)


def test_two_leads_that_share_a_number_become_one_and_two_again(served: Served, page: Page) -> None:
    first, _ = leads(served, 2)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads/{first}")
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("row", name="Name").get_by_label("Bea").check()
    page.get_by_label("Reason").fill("the same person")
    page.get_by_role("button", name="Merge").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Bea")
    expect(page.locator(".timeline")).to_contain_text("Merged with another lead: the same person")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Anna")
    expect(page.get_by_role("heading", name="Possible duplicates")).to_be_visible()


def test_a_file_is_shown_row_by_row_before_it_is_imported(served: Served, page: Page, tmp_path: Path) -> None:
    leads(served, 1)
    table = tmp_path / "people.csv"
    table.write_text("name,phone,email\nFay,9200 0001,\nAnna,+65 9120 0001,anna@example.com\nGus,nothing,\n")
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads")
    page.get_by_role("link", name="Import").click()
    page.get_by_label("File", exact=True).set_input_files(table)
    expect(page.locator("#preview")).to_contain_text("1 new, 1 updated, 1 skipped")
    page.get_by_role("button", name="Import now").click()
    expect(page.locator("#job")).to_contain_text("1 new, 1 updated, 1 skipped")
    expect(page.locator("#job")).to_contain_text("Row 3: This is not a phone number")
    page.get_by_role("link", name="Back to leads").click()
    expect(page.locator("#lead-total")).to_have_text("2 leads")


def test_people_are_erased_after_a_typed_word_and_leave_a_tombstone(served: Served, page: Page) -> None:
    [first, *_] = leads(served, 3)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads")
    for name in ("Anna", "Bea"):
        page.get_by_role("checkbox", name=f"Select {name}").check()
    page.get_by_role("button", name="Erase…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Erase 2 people")
    page.get_by_label("Type “erase” to confirm").fill("erase")
    page.get_by_role("button", name="Erase permanently").click()
    expect(page).to_have_url(re.compile("/leads/jobs/"))
    expect(page.locator("#job")).to_contain_text("Finished: 2 done, 0 skipped")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.goto(f"{served.url}/leads")
    expect(page.locator("#lead-total")).to_have_text("1 lead")
    page.goto(f"{served.url}/leads/{first}")
    expect(page.get_by_role("heading", level=1)).to_have_text("This person was erased")


def test_three_leads_become_the_chosen_one_and_one_undo_brings_all_back(served: Served, page: Page) -> None:
    ids = leads(served, 3)
    sign_in(page, served.url)
    page.goto(f"{served.url}/leads")
    page.get_by_role("checkbox", name="Select this page").check()
    page.get_by_role("button", name="Merge…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Merge 3 leads")
    found = AXE.run(page, options=RULES["en"] | {"resultTypes": ["violations"]}).response["violations"]
    assert [each["id"] for each in found] == []
    page.get_by_role("radio", name="Carl").check()
    page.get_by_role("button", name="Merge all").click()
    expect(page).to_have_url(re.compile(f"/leads/{ids[2]}$"))
    page.goto(f"{served.url}/leads")
    expect(page.locator("#lead-total")).to_have_text("1 lead")
    page.locator("#lead-jobs").get_by_role("button", name="Undo").click()
    expect(page.locator("#lead-total")).to_have_text("3 leads")
