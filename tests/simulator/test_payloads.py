"""The webhooks that the simulator makes are those that the connector reads."""

from contatto.channels.connectors.tiktok import TikTok
from contatto.channels.model import Chatted, Referred, Sender, WasRead
from contatto.simulator.traffic import Thread, opened_from_ad, text_message, webhook

THREAD = Thread("app-1", "business-1", "harbour", "person-1", "sunny_kettle7")
AT_MS = 1_795_000_000_123
READ = webhook(THREAD, "im_mark_read_msg", {"read": {"last_read_timestamp": AT_MS}}, AT_MS)


def test_a_message_of_the_person_is_read_as_one() -> None:
    read = TikTok().parse(text_message(THREAD, "m1", "สวัสดีค่ะ", AT_MS))
    assert isinstance(read, Chatted)
    assert (read.message_id, read.text, read.sender) == ("m1", "สวัสดีค่ะ", Sender.CUSTOMER)
    assert (read.person_id, read.person_name) == ("person-1", "sunny_kettle7")
    assert read.at.timestamp() * 1000 == AT_MS


def test_a_message_of_the_business_belongs_to_the_same_person() -> None:
    read = TikTok().parse(text_message(THREAD, "m2", "Hello!", AT_MS, from_person=False))
    assert isinstance(read, Chatted)
    assert (read.person_id, read.person_name, read.sender) == ("person-1", "sunny_kettle7", Sender.BUSINESS)


def test_a_tap_names_the_ad_and_the_same_conversation() -> None:
    tapped = TikTok().parse(opened_from_ad(THREAD, "7", "1840000000000000001", "Oak", AT_MS))
    wrote = TikTok().parse(text_message(THREAD, "m1", "hi", AT_MS))
    assert isinstance(tapped, Referred)
    assert isinstance(wrote, Chatted)
    assert tapped.tap.ad_number == 1_840_000_000_000_000_001
    assert tapped.conversation_id == wrote.conversation_id


def test_a_read_mark_tells_until_when() -> None:
    read = TikTok().parse(READ)
    assert isinstance(read, WasRead)
    assert read.at.timestamp() * 1000 == AT_MS


def test_every_delivery_has_a_label_of_its_own() -> None:
    bodies = (
        text_message(THREAD, "m1", "hi", AT_MS),
        text_message(THREAD, "m2", "hi", AT_MS),
        opened_from_ad(THREAD, "7", "1", "Oak", AT_MS),
        READ,
    )
    labels = {TikTok().label(body) for body in bodies}
    assert len(labels) == len(bodies)
    assert {label.account for label in labels} == {"business-1"}
