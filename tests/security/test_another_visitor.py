"""Who is not the visitor reads nothing and writes nothing in their chat, whatever was signed for whom."""

import re
from collections.abc import Iterator

import pytest

from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from tests.journeys.running import ROOMY, House, until
from tests.security.chats import SITE, Browser, ads_token, decide, embed, settled, texts_of
from tests.unchanged import nothing_changes

SECRET = "my number is +65 9123 4567"


@pytest.fixture
def victim(house: House) -> Browser:
    """Somebody who came by an ad of the house, known to its publisher as ``viewer-0001-x``, and wrote."""
    house.make_ad("LEAD_GENERATION", budget=ROOMY)
    person = Browser(house)
    person.tap(decide(house, "viewer-0001-x")["click_url"])
    assert person.say(SECRET).status_code == 200
    settled(house)
    assert texts_of(person.reads()) == [SECRET]
    return person


def gets_nothing(intruder: Browser, **query: str) -> None:
    """Neither the words of the victim, nor a place in their thread."""
    assert SECRET not in intruder.reads(**query).text
    if intruder.say("I am somebody else", **query).status_code == 200:
        settled(intruder.house, 2)
        assert until(lambda: texts_of(intruder.reads(**query))) == ["I am somebody else"]


def test_a_publisher_of_another_business_does_not_become_the_visitor_whom_it_names(
    house: House, neighbour: House, victim: Browser
) -> None:
    neighbour.make_ad("LEAD_GENERATION")
    token = ads_token(neighbour)
    intruder = Browser(neighbour)
    intruder.tap(decide(neighbour, "viewer-0001-x", token)["click_url"])
    gets_nothing(intruder.at(house))
    assert texts_of(victim.reads()) == [SECRET]


def test_a_publisher_of_the_same_business_does_not_become_the_visitor_whom_it_names(
    house: House, victim: Browser
) -> None:
    intruder = Browser(house)
    intruder.tap(decide(house, "viewer-0001-x", ads_token(house))["click_url"])
    gets_nothing(intruder)
    assert texts_of(victim.reads()) == [SECRET]


def shown_ids(house: House) -> Iterator[str]:
    """Every id-like word that the business sees of its chats: in the API, and on its pages."""
    account = house.data("GET", "/business/message/conversation/list/", business_id=house.webchat_id,
                         conversation_type="STRANGER")  # fmt: skip
    yield from translator_of(str(account))
    for each in account["conversations"]:
        told = house.data("GET", "/business/message/content/list/", business_id=house.webchat_id,
                          conversation_id=each["conversation_id"])  # fmt: skip
        yield from translator_of(str(told))
    house.sign_in()
    for page in ("/inbox", "/leads", f"/inbox/{settled(house)[0]}", "/leads.csv", "/settings/audit"):
        yield from translator_of(house.client.get(page).text)
    lead = house.context.db.read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter()))[0]
    yield from translator_of(house.client.get(f"/leads/{lead.id}").text)
    house.client.cookies.clear()


def translator_of(text: str) -> list[str]:
    return [word for word in re.findall(r"[A-Za-z0-9_.:-]{12,128}", text) if any(map(str.isdigit, word))]


def test_no_id_that_a_business_is_shown_opens_the_chat(
    house: House, neighbour: House, victim: Browser
) -> None:
    neighbour.make_ad("LEAD_GENERATION", budget=ROOMY)
    ids = sorted(set(shown_ids(house)))
    assert len(ids) > 5
    secrets = {part for value in victim.identity.values() for part in value.split(".")}
    assert not secrets & {part for word in ids for part in word.split(".")}
    for shown in ids:
        for name in victim.identity:
            assert SECRET not in Browser(house, {name: shown}).reads().text
        assert SECRET not in Browser(house).reads(v=shown).text
    people = [word for word in ids if not word.startswith("/")][:40]
    for shown in people:
        for of in (house, neighbour):
            intruder = Browser(of)
            intruder.tap(decide(of, shown)["click_url"])
            assert SECRET not in intruder.at(house).reads().text


def test_a_link_that_was_tapped_opens_nobodys_chat_a_second_time(house: House) -> None:
    house.make_ad("LEAD_GENERATION")
    link = decide(house, "viewer-0001-x")["click_url"]
    victim, other = Browser(house), Browser(house)
    victim.tap(link)
    victim.say(SECRET)
    settled(house)
    other.tap(link)
    gets_nothing(other)
    victim.tap(link)
    assert texts_of(victim.reads()) == [SECRET]


def test_the_cookie_of_one_business_is_worth_nothing_at_another(
    house: House, neighbour: House, victim: Browser
) -> None:
    other = Browser(neighbour)
    other.open_chat()
    other.say("hello, tea")
    settled(neighbour)
    for names, stolen, where in (
        (other.identity, victim.identity, neighbour),
        (victim.identity, other.identity, house),
    ):
        for name in [*names, *stolen]:
            for value in stolen.values():
                forged = Browser(where, {name: value})
                with nothing_changes(house.context.db):
                    assert forged.reads().status_code == 401
                    assert forged.say("forged").status_code == 401
                    assert forged.reads(v=value).status_code == 401
                    assert forged.say("forged", v=value).status_code == 401


def test_the_token_of_a_frame_is_good_for_one_chat_and_for_frames_alone(
    house: House, neighbour: House, victim: Browser
) -> None:
    ours, theirs = embed(house), embed(neighbour)
    framed = Browser(house)
    assert framed.say("from the shop", v=ours).status_code == 200
    settled(house, 2)
    assert until(lambda: texts_of(framed.reads(v=ours))) == ["from the shop"]
    for name, cookie in victim.identity.items():
        for token, where in ((ours, neighbour), (theirs, house), (cookie, house)):
            with nothing_changes(house.context.db):
                assert Browser(where).reads(v=token).status_code == 401
                assert Browser(where).say("forged", v=token).status_code == 401
            page = Browser(where).get(f"/chat/{where.webchat_id}/embed", params={"v": token})
            assert "data-fresh" in page.text
        assert Browser(house, {name: ours}).reads().status_code == 401  # a frame's token is no cookie
    assert SITE in framed.get(f"/chat/{house.webchat_id}/embed").headers["content-security-policy"]


def test_a_frame_with_a_bad_token_does_not_fall_back_on_the_cookie(house: House, victim: Browser) -> None:
    with nothing_changes(house.context.db):
        assert victim.reads(v="nonsense").status_code == 401
        assert victim.say("whose is this", v="").status_code == 401


def test_every_browser_gets_an_identity_of_its_own_that_we_made(house: House) -> None:
    seen = set()
    for _ in range(5):
        person = Browser(house)
        person.open_chat()
        (value,) = person.identity.values()
        secret = value.split(".")[0]
        assert len(secret) >= 22  # 128 random bits
        seen.add(secret)
    assert len(seen) == 5


@pytest.mark.parametrize("path", ["", "/photos/x", "/stream", "/form/1"])
def test_no_door_of_a_chat_takes_the_cookie_of_another(
    house: House, neighbour: House, victim: Browser, path: str
) -> None:
    other = Browser(neighbour)
    other.open_chat()
    (name,) = other.identity
    forged = Browser(neighbour, {name: next(iter(victim.identity.values()))})
    house.context.live.close()  # a stream that opened all the same would else never end
    answer = forged.get(f"/chat/{neighbour.webchat_id}{path}")
    if path:
        assert answer.status_code == 401
    else:  # the page itself: a fresh identity, in place of what was forged
        assert answer.status_code == 200
        assert forged.cookies[name] not in victim.identity.values()
