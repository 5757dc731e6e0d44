"""What a form answers has an address of its own: a reload and Back show it again, to its reader alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts.actions import forget_kept_pages, purge_kept_pages
from contatto.accounts.model import Permission, Role
from contatto.accounts.rules import KEEP_PAGES, MOST_KEPT_PAGES
from contatto.accounts.store import kept_pages
from contatto.audit import list_audit_entries
from contatto.kit.db.tx import Tx
from tests.ads.test_pages import make_campaign, post
from tests.journeys.running import House, csrf_of, running_house
from tests.leads.test_center_pages import sign_in_as
from tests.unchanged import all_rows

BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}
HOME = "http://127.0.0.1:8000"


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    with running_house(tmp_path, database_url=database_url) as running:
        running.sign_in()
        yield running


def send(house: House, path: str, page: str, headers: Any = None, **form: Any) -> Any:
    """Send a form as a browser does from a page."""
    token = csrf_of(house.client.get(page).text)
    sent = BROWSER | {"Referer": HOME + page} | (headers or {})
    return house.client.post(path, data=form | {"csrf_token": token}, headers=sent, follow_redirects=False)


def open_page(house: House, address: str) -> Any:
    return house.client.get(address, headers=BROWSER, follow_redirects=False)


def refuse(house: House, name: str = "") -> str:
    """Send a form with a mistake and give the address of its answer."""
    page = "/ads/campaigns/new"
    answer = send(house, "/ads/campaigns", page, advertiser_id=house.advertiser_id, name=name)
    assert answer.status_code == 303
    address: str = answer.headers["location"]
    assert re.fullmatch(r"/ads/campaigns/new\?kept=kept_[\w-]{43}", address)
    return address


def test_a_refused_form_is_there_again_after_each_reload(house: House) -> None:
    address = refuse(house, "x" * 600)
    for _ in range(2):
        again = open_page(house, address)
        assert again.status_code == 422
        assert "x" * 600 in again.text
        assert 'id="name-error"' in again.text
    assert again.headers["cache-control"] == "no-store"
    token = csrf_of(again.text)
    form = {"advertiser_id": house.advertiser_id, "name": "November", "csrf_token": token}
    headers = BROWSER | {"Referer": HOME + address}
    made = house.client.post("/ads/campaigns", data=form, headers=headers, follow_redirects=False)
    assert made.status_code == 303
    assert made.headers["location"].endswith("/ad-groups/new")
    empty = open_page(house, address)  # Back, after it was taken: the form as it is opened first
    assert (empty.status_code, "x" * 600 in empty.text) == (200, False)


def test_every_form_of_the_ads_manager_and_of_settings_is_kept(house: House) -> None:
    campaign, ids = make_campaign(house), house.make_ad("LEAD_GENERATION")
    group = ids["adgroup_id"]
    forms = {
        f"/ads/campaigns/{campaign}/ad-groups/new": (
            f"/ads/campaigns/{campaign}/ad-groups",
            {"budget": "1,5"},
        ),
        f"/ads/ad-groups/{group}/ads/new": (f"/ads/ad-groups/{group}/ads", {"headline": ""}),
        f"/ads/ad-groups/{group}/edit": (f"/ads/ad-groups/{group}/edit", {"budget": "x", "seen": "1"}),
        "/settings/channels": ("/settings/channels/accounts", {"platform": "tiktok", "name": "New"}),
        "/settings/inbox": ("/settings/inbox", {"minutes": "soon"}),
        "/settings/replies": ("/settings/replies", {"shortcut": "two words", "text": "Hi"}),
        "/ads?status=active": ("/ads/bulk/pause", {}),
    }
    for page, (path, form) in forms.items():
        answer = send(house, path, page, **form)
        assert answer.status_code == 303, (path, answer.text[:200])
        assert answer.headers["location"].startswith(page + ("&" if "?" in page else "?") + "kept="), path
        again = open_page(house, answer.headers["location"])
        assert again.status_code in (409, 422), path


def test_what_was_done_to_many_rows_is_there_again_too_and_is_not_done_twice(house: House) -> None:
    ids = house.make_ad("LEAD_GENERATION")
    done = send(house, "/ads/bulk/pause", "/ads", rows=[f"ads-{ids['ad_id']}"])
    assert done.headers["location"].startswith("/ads?shown=")
    before = all_rows(house.context.db)
    for _ in range(2):
        assert "1 row is done." in open_page(house, done.headers["location"]).text
    assert all_rows(house.context.db) == before


def test_a_script_and_a_program_are_answered_at_once(house: House) -> None:
    page = "/ads/campaigns/new"
    for headers in ({"HX-Request": "true"}, {"Sec-Fetch-Mode": "cors"}):
        assert send(house, "/ads/campaigns", page, headers, name="").status_code == 422
    assert post(house, "/ads/campaigns", name="").status_code == 422


def test_without_a_referer_the_answer_stands_at_the_address_of_the_form(house: House) -> None:
    for referer in ("", "https://evil.example/x", f"{HOME}//evil.example/x", "javascript:alert(1)"):
        answer = send(house, "/ads/campaigns", "/ads/campaigns/new", {"Referer": referer}, name="")
        assert re.match(r"/ads/campaigns\?kept=", answer.headers["location"]), referer
        assert open_page(house, answer.headers["location"]).status_code == 422


def test_nobody_else_is_shown_what_was_kept(house: House) -> None:
    address = refuse(house, "y" * 600)
    sign_in_as(house, Role.ADMIN)
    assert "y" * 600 not in open_page(house, address).text
    house.client.cookies.clear()
    assert open_page(house, address).status_code == 303  # to the log-in
    house.sign_in()  # another session of the same member
    assert "y" * 600 not in open_page(house, address).text


def test_what_is_kept_is_sealed_few_and_gone_after_its_time(house: House) -> None:
    addresses = [refuse(house, f"{n:03d}" + "z" * 600) for n in range(MOST_KEPT_PAGES + 3)]
    assert "000zzz" not in open_page(house, addresses[0]).text
    assert f"{MOST_KEPT_PAGES + 2:03d}zzz" in open_page(house, addresses[-1]).text

    def rows(tx: Tx) -> list[Any]:
        return list(tx.execute(kept_pages.select()))

    kept = house.context.db.read_now(rows)
    assert len(kept) == MOST_KEPT_PAGES
    assert not any(b"zzzz" in row.page for row in kept)
    assert not any(addresses[-1].partition("=")[2] in map(str, row) for row in kept)
    house.context.db.write_now(lambda tx: forget_kept_pages(tx, house.business_id))
    assert house.context.db.read_now(rows) == []
    assert KEEP_PAGES.total_seconds() <= 86_400
    assert house.context.db.write_now(purge_kept_pages) == 0


def test_keeping_and_showing_leaves_no_entry_in_the_audit_log(house: House) -> None:
    def count(tx: Tx) -> int:
        return len(list_audit_entries(tx, house.business_id, (0, 500)))

    before = house.context.db.read_now(count)
    open_page(house, refuse(house))
    assert house.context.db.read_now(count) == before


def test_a_secret_is_shown_once(house: House) -> None:
    scopes = [Permission.READ_REPORTS.value]
    made = send(house, "/settings/tokens", "/settings", name="Nightly", scopes=scopes)
    address = made.headers["location"]
    assert address.startswith("/settings?shown=")
    secret = re.search(r"contatto_[\w-]{43}", open_page(house, address).text)
    assert secret
    assert secret[0] not in open_page(house, address).text
