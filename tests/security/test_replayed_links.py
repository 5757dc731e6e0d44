"""A tracking link counts what it was made for, once, at its own address; the link to a chat once a day."""

from datetime import timedelta
from pathlib import Path

import pytest

from contatto.ads.model import Ad
from contatto.ads.rules.tree import chat_link
from contatto.ads.store import find_node
from contatto.measurement import store
from contatto.measurement.model import Touch
from contatto.measurement.rules import TRACKING_KEY
from tests.journeys.running import House, running_house
from tests.security.chats import Browser, decide
from tests.unchanged import nothing_changes


def touches(house: House) -> list[Touch]:
    return house.context.db.read_now(lambda tx: tx.list(Touch, store.touches.select()))


def plain_link(house: House, ad: dict[str, str]) -> str:
    """The link that a member copies from the page of an ad."""
    number = int(ad["ad_id"])
    found = house.context.db.read_now(lambda tx: find_node(tx, Ad, house.business_id, number=number))
    assert found is not None
    return chat_link("", found, house.context.vault.signer(TRACKING_KEY))


def token_of(link: str) -> str:
    return link.rpartition("/")[2]


def test_each_kind_of_link_is_refused_at_the_address_of_another(house: House) -> None:
    ad = house.make_ad("CONVERSATION")
    served = decide(house, "viewer-1")
    wrong = [f"/t/v/{token_of(served['click_url'])}", f"/t/c/{token_of(served['view_url'])}",
             f"/t/v/{token_of(plain_link(house, ad))}"]  # fmt: skip
    with nothing_changes(house.context.db):
        for address in wrong:
            answer = Browser(house).get(address)
            assert (answer.status_code, answer.json()["code"]) == (401, "unsigned")
            assert not answer.headers.get("set-cookie")


def test_a_replayed_link_counts_once_for_everybody(house: House) -> None:
    house.make_ad("CONVERSATION")
    served = decide(house, "viewer-1")
    for _ in range(5):
        for link in (served["view_url"], served["click_url"]):
            Browser(house).get(link)
    assert sorted(touch.kind for touch in touches(house)) == ["click", "view"]


def test_the_chat_link_of_an_ad_counts_each_visitor_once_a_day(tmp_path: Path, database_url: str) -> None:
    with running_house(tmp_path, database_url=database_url) as house:
        link = plain_link(house, house.make_ad("CONVERSATION"))
        person, other = Browser(house), Browser(house)
        for _ in range(4):
            person.tap(link)
        assert len(touches(house)) == 1
        other.tap(link)
        assert len(touches(house)) == 2
        clock = house.context.clock
        later = clock.now() + timedelta(days=1)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(type(clock), "now", lambda _: later)
            person.tap(link)
            person.tap(link)
        assert len(touches(house)) == 3


def test_who_keeps_no_cookie_counts_a_few_times_from_one_address_and_still_gets_to_the_chat(
    tmp_path: Path, database_url: str
) -> None:
    with running_house(tmp_path, database_url=database_url, chat_link_taps_per_day=3) as house:
        link, second = (plain_link(house, house.make_ad("CONVERSATION")) for _ in range(2))
        regular = Browser(house)
        regular.tap(link)
        for _ in range(10):
            Browser(house).tap(link)
        minted = Browser(house)
        minted.open_chat()  # an identity is had for nothing, and buys no further count
        minted.tap(link)
        assert len(touches(house)) == 3
        Browser(house).tap(second)
        assert len(touches(house)) == 4
        for _ in range(5):
            regular.tap(link)
        assert len(touches(house)) == 4
