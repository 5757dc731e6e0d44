"""A person says "not a contact": the detail goes, and the next match of the same text respects it."""

import re

from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import count_leads
from tests.journeys.running import House, csrf_of, message, until

NOW_MS = 1_795_000_000_000


def _leads(house: House) -> int:
    return house.context.db.read_now(lambda tx: count_leads(tx, house.business_id, LeadFilter()))


def _lead_page(house: House) -> str:
    """The page of the one lead, as soon as there is one."""
    assert until(lambda: _leads(house))
    found = re.search(r'href="(/leads/[0-9a-f-]{36})"', house.client.get("/leads").text)
    assert found
    return found.group(1)


def _reject_first(house: House, path: str) -> None:
    page = house.client.get(path).text
    target = re.search(r'action="(/leads/[^"]+/points/[^"]+/reject)"', page)
    assert target, page
    answer = house.client.post(target.group(1), data={"csrf_token": csrf_of(page)}, follow_redirects=False)
    assert answer.status_code == 303


def test_the_lead_goes_with_its_only_detail_and_does_not_come_back(house: House) -> None:
    house.sign_in()
    ad = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    tap = {"from_user": {"id": "u1"}, "conversation_id": "conversation of u1", "timestamp": NOW_MS - 1000,
           "referral": {"source": "ad", "ad": {"ad_id": ad["ad_id"]}}}  # fmt: skip
    house.webhook("im_referral_msg", tap)
    house.webhook("im_receive_msg", message("write to desk@example.com", "u1", NOW_MS))
    path = _lead_page(house)
    assert house.report()[ad["adgroup_id"]]["conversion"] == "1"
    _reject_first(house, path)
    assert _leads(house) == 0
    assert house.report()[ad["adgroup_id"]]["conversion"] == "0"
    gone = house.client.get(path).text
    assert "Not a contact detail" in gone, "the page of what was a lead does not say what became of it"
    assert f"{path}/status" not in gone
    house.webhook("im_receive_msg", message("again: desk@example.com", "u1", NOW_MS + 1000))
    house.webhook("im_receive_msg", message("mine is mei@example.com", "u2", NOW_MS + 2000))
    assert until(lambda: _leads(house)) == 1
    assert "mei@example.com" in house.client.get("/leads").text
    assert "desk@example.com" not in house.client.get("/leads").text


def test_a_lead_with_another_detail_stays_and_its_history_says_what_was_rejected(house: House) -> None:
    house.sign_in()
    house.webhook("im_receive_msg", message("desk@example.com or +65 8123 4567", "u1", NOW_MS))
    path = _lead_page(house)
    _reject_first(house, path)
    page = house.client.get(path).text
    assert "Not a contact detail:" in page
    assert len(re.findall(r'action="[^"]+/points/[^"]+/reject"', page)) == 1
    assert _leads(house) == 1


def test_the_thread_no_longer_speaks_of_a_lead_that_is_gone(house: House) -> None:
    house.sign_in()
    house.webhook("im_receive_msg", message("write to desk@example.com", "u1", NOW_MS))
    path = _lead_page(house)
    link = re.search(r'href="(/inbox/[0-9a-f-]{36})#m-', house.client.get(path).text)
    assert link, "the contact detail does not link back to the message"
    assert until(lambda: "data-capture-notice" in house.client.get(link.group(1)).text)
    _reject_first(house, path)
    assert until(lambda: "data-capture-notice" not in house.client.get(link.group(1)).text)
    assert 'class="evidence"' not in house.client.get(link.group(1)).text
