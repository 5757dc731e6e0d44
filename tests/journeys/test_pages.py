"""Journey e: a member signs in and walks the pages."""

import csv
import io

import pytest

from tests.journeys.running import House, csrf_of, until


def test_without_a_session_every_page_leads_to_the_log_in(house: House) -> None:
    for path in ("/inbox", "/leads", "/ads", "/reports", "/settings", "/settings/capture"):
        answer = house.client.get(path, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=")


@pytest.mark.parametrize("path", ["/inbox", "/leads", "/ads", "/reports", "/settings", "/settings/capture"])
def test_an_empty_business_sees_a_page_that_says_what_will_appear(house: House, path: str) -> None:
    house.sign_in()
    answer = house.client.get(path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_leads_center_lists_the_lead_and_its_download_holds_the_number_whole(house: House) -> None:
    house.client.get(f"/chat/{house.webchat_id}")
    written = {"client_message_id": "message-1", "text": "=HYPERLINK() my number is +65 8123 4567"}
    house.client.post(f"/chat/{house.webchat_id}/messages", json=written)
    house.sign_in()
    assert until(lambda: _list_with(house, "+6581234567"))
    assert until(lambda: _list_with(house, "1 lead"))  # it may have come while the first page was read
    table = house.client.get("/leads.csv")
    rows = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert [row["phone"] for row in rows] == ["+6581234567"]


def _list_with(house: House, text: str) -> str:
    page = house.client.get("/leads").text
    return page if text in page else ""


def test_a_status_moves_once_and_the_second_who_saw_the_old_one_is_told(house: House) -> None:
    house.client.get(f"/chat/{house.webchat_id}")
    written = {"client_message_id": "message-1", "text": "mail mei@example.com"}
    house.client.post(f"/chat/{house.webchat_id}/messages", json=written)
    house.sign_in()
    page = until(lambda: _list_with(house, "mei@example.com"))
    lead_id = page.split('id="lead-rows"')[1].split('href="/leads/')[1][:36]
    token = csrf_of(page)
    move = {"status": "contacted", "seen": "raw", "csrf_token": token}
    assert house.client.post(f"/leads/{lead_id}/status", data=move).status_code == 200
    late = {"status": "qualified", "seen": "raw", "csrf_token": token}
    told = house.client.post(f"/leads/{lead_id}/status", data=late)
    assert told.status_code == 409
    assert "The status is now Contacted" in told.text
