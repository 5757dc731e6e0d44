"""Journey: a viewer whom a publisher names taps an ad: the chat is their own, the credit is the ad's."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from contatto.kit.db.tx import Tx
from contatto.measurement import actions as measurement
from contatto.measurement import store
from contatto.measurement.model import Attribution, ConversionKind, MeasuredAd, Touch, TouchKind
from tests.journeys.running import House, until
from tests.security.chats import Browser, decide, settled, texts_of


def measured(house: House, ad: dict[str, str]) -> MeasuredAd:
    number = int(ad["ad_id"])
    found = house.context.db.read_now(
        lambda tx: store.find_measured_ad_by_number(tx, house.business_id, number)
    )
    assert found is not None
    return found


def change(house: House, ad: dict[str, str], **windows: int | None) -> None:
    """Change the windows of an ad, in seconds; None turns one off."""
    changed = replace(measured(house, ad), **windows)  # type: ignore[arg-type]
    house.context.db.write_now(lambda tx: measurement.publish_ad(tx, changed))


def touches_of(house: House) -> list[Touch]:
    mine = store.touches.select().order_by(store.touches.c.ts, store.touches.c.touch_id)
    return house.context.db.read_now(lambda tx: tx.list(Touch, mine))


def clicks(house: House) -> int:
    return sum(touch.kind is TouchKind.CLICK for touch in touches_of(house))


def earned(
    house: House,
    conversation_id: str,
    fits: Callable[[Attribution], bool] = lambda found: found.ad_id is not None,
) -> Attribution:
    """The conversion of a conversation, as soon as it is as it should be."""

    def look(tx: Tx) -> Attribution | None:
        kind = ConversionKind.CONVERSATION
        found = store.find_attribution(tx, house.business_id, conversation_id, kind)
        return found if found is not None and fits(found) else None

    found = until(lambda: house.context.db.read_now(look))
    assert found is not None
    return found


def test_the_tap_of_a_named_viewer_earns_the_chat_that_follows(house: House) -> None:
    ad = house.make_ad("CONVERSATION")
    served, person = decide(house, "viewer-1"), Browser(house)
    assert person.get(served["view_url"]).status_code == 200
    person.tap(served["click_url"])
    person.say("What does it cost?")
    (chat,) = settled(house)
    found = earned(house, chat)
    assert (found.ad_id, found.via) == (measured(house, ad).ad_id, TouchKind.CLICK)
    view, click = touches_of(house)
    assert click.person_id == found.person_id
    assert view.person_id not in {found.person_id, chat}  # a publisher's viewer is nobody in our chat


def test_a_view_of_the_same_viewer_earns_the_chat_where_taps_do_not_count(house: House) -> None:
    ad = house.make_ad("CONVERSATION")
    change(house, ad, click_window_s=None)
    served, person = decide(house, "viewer-1"), Browser(house)
    Browser(house).get(served["view_url"])  # the pixel stands on the publisher's page: it sees no cookie
    person.tap(served["click_url"])
    person.say("What does it cost?")
    (chat,) = settled(house)
    assert earned(house, chat).via is TouchKind.VIEW
    (view, _) = touches_of(house)
    assert earned(house, chat).touch_id == view.touch_id


def test_views_that_follow_the_tap_count_too(house: House) -> None:
    ad = house.make_ad("CONVERSATION")
    change(house, ad, click_window_s=None)
    person = Browser(house)
    person.tap(decide(house, "viewer-1")["click_url"])
    Browser(house).get(decide(house, "viewer-1")["view_url"])
    person.say("What does it cost?")
    (chat,) = settled(house)
    assert earned(house, chat).via is TouchKind.VIEW


def test_a_visitor_who_taps_another_ad_keeps_the_chat_and_that_ad_is_credited(house: House) -> None:
    house.make_ad("CONVERSATION")
    person = Browser(house)
    person.tap(decide(house, "viewer-1")["click_url"])
    person.say("Hello")
    (chat,) = settled(house)
    earned(house, chat)
    second = house.make_ad("LEAD_GENERATION")
    served = decide(house, "viewer-2")
    while served["ad_id"] != second["ad_id"]:
        served = decide(house, "viewer-2")
    before = dict(person.identity)
    person.tap(served["click_url"])
    assert person.identity == before
    assert texts_of(person.reads()) == ["Hello"]
    person.say("my number is +65 9123 4567")
    row = until(lambda: _with_conversion(house, second["adgroup_id"]))
    assert row["conversion"] == "1"


def _with_conversion(house: House, ad_group: str) -> dict[str, str]:
    row = house.report().get(ad_group, {})
    return row if row.get("conversion") == "1" else {}


def test_a_tap_on_the_way_back_credits_a_chat_that_began_by_itself(house: House) -> None:
    """The viewer saw the ad, opened the chat by its plain address, and taps the ad after they wrote."""
    ad = house.make_ad("CONVERSATION")
    Browser(house).get(decide(house, "viewer-1")["view_url"])
    person = Browser(house)
    person.open_chat()
    person.say("Hello")
    (chat,) = settled(house)
    assert earned(house, chat, lambda found: True).ad_id is None
    person.tap(decide(house, "viewer-1")["click_url"])
    found = earned(house, chat)
    assert (found.ad_id, found.via) == (measured(house, ad).ad_id, TouchKind.VIEW)


def test_a_link_that_was_tapped_links_nobody_else(house: House) -> None:
    ad = house.make_ad("CONVERSATION")
    change(house, ad, click_window_s=None)
    served = decide(house, "viewer-1")
    Browser(house).get(served["view_url"])
    first, second = Browser(house), Browser(house)
    first.tap(served["click_url"])
    second.tap(served["click_url"])
    assert clicks(house) == 1
    second.say("Somebody sent me this")
    (chat,) = settled(house)
    assert earned(house, chat, lambda found: True).ad_id is None
    first.say("I saw your ad")
    other = next(each for each in settled(house, 2) if each != chat)
    assert earned(house, other).via is TouchKind.VIEW
    assert earned(house, chat, lambda found: True).ad_id is None


@pytest.mark.parametrize(
    "agent",
    ["facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "WhatsApp/2.23.20.0 A",
     "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "TelegramBot (like TwitterBot)",
     "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"],
)  # fmt: skip
def test_a_preview_of_a_link_takes_nothing_from_the_person_who_taps_it(house: House, agent: str) -> None:
    house.make_ad("CONVERSATION")
    link, machine, person = decide(house, "viewer-1")["click_url"], Browser(house), Browser(house)
    for method in ("GET", "HEAD"):
        shown = machine.send(method, link, headers={"user-agent": agent})
        assert (shown.status_code, shown.headers["location"]) == (303, f"/chat/{house.webchat_id}")
        assert not machine.identity
    assert person.send("HEAD", link).status_code == 303
    assert person.get(link, headers={"sec-purpose": "prefetch;prerender"}).status_code == 503
    assert clicks(house) == 0
    person.tap(link)
    person.say("Hello")
    (chat,) = settled(house)
    assert earned(house, chat).via is TouchKind.CLICK


def test_an_ad_that_leaves_out_who_converted_is_not_shown_to_the_viewer_who_did(house: House) -> None:
    """The publisher knows the viewer, the audience the person: the first tap says that they are one."""
    ad = house.make_ad("LEAD_GENERATION")
    person = Browser(house)
    person.tap(decide(house, "viewer-1")["click_url"])
    person.say("my number is +65 9123 4567")
    assert until(lambda: _with_conversion(house, ad["adgroup_id"]))
    leads = house.data("POST", "/dmp/custom_audience/rule/create/", custom_audience_name="Leads",
                       audience_type="LEAD_GENERATION")["custom_audience_id"]  # fmt: skip
    # A budget whose plan of the next half hour outlasts all that is asked for until the audience is read.
    house.data("POST", "/adgroup/update/", adgroup_id=ad["adgroup_id"], excluded_audience_ids=[leads],
               budget=100_000)  # fmt: skip

    def is_shown(viewer: str) -> bool:
        asked = {"viewer_id": viewer, "country": "SG"}
        answer = house.client.post("/delivery/decide", json=asked, headers={"Access-Token": house.token})
        return answer.json()["ad"] is not None

    assert until(lambda: not is_shown("viewer-1"))
    assert until(lambda: is_shown("viewer-2"))


def test_a_telephone_that_is_called_like_a_machine_is_a_person(house: House) -> None:
    house.make_ad("CONVERSATION")
    phone = {"user-agent": "Mozilla/5.0 (Linux; Android 15; CUBOT KINGKONG 9) Chrome/142.0 Mobile Safari"}
    assert Browser(house).get(decide(house, "viewer-1")["click_url"], headers=phone).status_code == 303
    assert clicks(house) == 1
