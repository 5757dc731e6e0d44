"""Journey a: a signed webhook becomes one lead, with its notice, its evidence and its ad."""

import time

from contatto.inbox.store.conversations import count_receipts
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import count_leads, list_contact_points, list_leads
from tests.journeys.running import House, message, until

NOW_MS = int(time.time() * 1000)


def _leads(house: House) -> int:
    return house.context.db.read_now(lambda tx: count_leads(tx, house.business_id, LeadFilter()))


def test_a_shared_number_in_a_webhook_becomes_one_lead_credited_to_the_ad_that_was_tapped(
    house: House,
) -> None:
    ad = house.make_ad("LEAD_GENERATION", house.tiktok_id)
    referral = {
        "from": "mei", "from_user": {"id": "u1"}, "conversation_id": "conversation of u1",
        "timestamp": NOW_MS - 60_000,
        "referral": {"source": "ad", "ad": {"ad_id": ad["ad_id"], "advertiser_id": house.advertiser_id}},
    }  # fmt: skip
    assert house.webhook("im_referral_msg", referral).json() == {"received": True}
    house.webhook("im_receive_msg", message("Hi! How much is a tasting?", "u1", NOW_MS - 50_000))
    house.webhook("im_receive_msg", message("My number is +65 8123 4567", "u1", NOW_MS - 40_000))
    house.webhook("im_receive_msg", message("or mail mei@example.com", "u1", NOW_MS - 30_000))

    assert until(lambda: _leads(house)) == 1
    house.sign_in()
    page = until(lambda: _detail_with(house, "mei@example.com"))
    assert "+6581234567" in page
    assert "LEAD_GENERATION group" in page
    assert house.report()[ad["adgroup_id"]]["conversion"] == "1"
    assert count_receipts_settled(house)


def count_receipts_settled(house: House) -> bool:
    ledger = house.context.db.read_now(lambda tx: count_receipts(tx, house.business_id))
    return ledger.received == ledger.stored == 4 and ledger.waiting == 0


def _detail_with(house: House, text: str) -> str:
    lead = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))[0]
    page = house.client.get(f"/leads/{lead.id}").text
    return page if text in page else ""


def test_the_notice_stands_in_our_inbox_and_nowhere_that_the_customer_looks(house: House) -> None:
    chat = f"/chat/{house.webchat_id}"
    customer = house.client
    assert customer.get(chat).status_code == 200
    sent = customer.post(
        f"{chat}/messages", json={"client_message_id": "message-1", "text": "call me on 8123 4567"}
    )
    assert sent.json()["accepted"] is True
    assert until(lambda: _leads(house)) == 1
    conversation = until(lambda: _conversation_of_lead(house))
    house.sign_in()
    thread = until(lambda: _thread_with_notice(house, conversation))
    assert "data-capture-notice" in thread
    assert 'class="evidence"' in thread
    mine = customer.get(f"{chat}/messages").json()["messages"]
    assert [each["text"] for each in mine] == ["call me on 8123 4567"]
    assert "Leads Center" not in customer.get(chat).text


def _conversation_of_lead(house: House) -> str:
    leads = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))
    return leads[0].conversation_id if leads else ""


def _thread_with_notice(house: House, conversation_id: str) -> str:
    page = house.client.get(f"/inbox/{conversation_id}/thread").text
    return page if "data-capture-notice" in page else ""


def test_the_same_webhook_again_and_in_another_order_changes_nothing(house: House) -> None:
    first = message("mail me: mei@example.com", "u2", NOW_MS, "m-1")
    second = message("thanks", "u2", NOW_MS + 1000, "m-2")
    for content in (second, first, second, first, first):
        house.webhook("im_receive_msg", content)
    assert until(lambda: _leads(house)) == 1
    ledger = until(lambda: _settled(house))
    assert (ledger.received, ledger.stored, ledger.merged) == (5, 2, 3)
    points = house.context.db.read_now(_points_reader(house))
    assert [point.value for point in points] == ["mei@example.com"]


def _settled(house: House):  # type: ignore[no-untyped-def]
    ledger = house.context.db.read_now(lambda tx: count_receipts(tx, house.business_id))
    return None if ledger.waiting else ledger


def _points_reader(house: House):  # type: ignore[no-untyped-def]
    def read(tx):  # type: ignore[no-untyped-def]
        lead = list_leads(tx, house.business_id, LeadFilter())[0]
        return list_contact_points(tx, house.business_id, {lead.id})[lead.id]

    return read
