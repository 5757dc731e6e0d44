"""Tracking links through the real doors: counted once, never for another person, and refused when forged."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from contatto.kit.ids import new_number
from contatto.measurement.actions import publish_ad
from contatto.measurement.model import MeasuredAd, TicketKind, Touch, TouchKind, TrackingTicket
from contatto.measurement.rules import TRACKING_KEY, sign_ticket
from contatto.measurement.store import list_touches_of, touches
from contatto.ui.render import VISITOR_KEY, cookie_name, public_id
from tests import make
from tests.journeys.running import House, running_house
from tests.unchanged import nothing_changes


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.fixture
def ad(house: House) -> MeasuredAd:
    house.client.cookies.clear()
    made = make.ad(
        house.business_id, channel_account_id=house.webchat_id, landing_path=f"/chat/{house.webchat_id}"
    )
    house.context.db.write_now(lambda tx: publish_ad(tx, made))
    return made


def link(
    house: House,
    ad: MeasuredAd,
    kind: TicketKind = TicketKind.CLICK,
    viewer: str = "",
    nonce: int | None = None,
) -> str:
    number = new_number() if nonce is None else nonce
    cost = 10 if kind is TicketKind.VIEW else 200
    ticket = TrackingTicket(kind, ad.business_id, ad.ad_id, number, viewer, cost)
    door = "v" if kind is TicketKind.VIEW else "c"
    return f"/t/{door}/{sign_ticket(ticket, house.context.vault.signer(TRACKING_KEY))}"


def of_ad(house: House, ad: MeasuredAd) -> list[tuple[TouchKind, int]]:
    mine = touches.select().where(touches.c.ad_id == ad.ad_id).order_by(touches.c.ts)
    rows = house.context.db.read_now(lambda tx: tx.list(Touch, mine))
    return [(touch.kind, touch.cost_micros) for touch in rows]


def test_a_view_is_a_pixel_and_counts_once(house: House, ad: MeasuredAd) -> None:
    address = link(house, ad, TicketKind.VIEW)
    for _ in range(2):
        answer = house.client.get(address)
        assert answer.headers["content-type"] == "image/gif"
        assert answer.headers["cache-control"] == "no-store"
    assert of_ad(house, ad) == [(TouchKind.VIEW, 10)]


@pytest.mark.parametrize(("days", "views"), [(27, 1), (29, 0)])
def test_the_link_of_an_impression_counts_its_view_for_four_weeks_and_its_tap_for_ever(
    house: House, ad: MeasuredAd, days: int, views: int
) -> None:
    made_ms = int((house.context.clock.now() - timedelta(days=days)).timestamp() * 1_000)
    for kind in (TicketKind.VIEW, TicketKind.CLICK):
        house.client.get(link(house, ad, kind, nonce=made_ms << 22 | 1), follow_redirects=False)
    seen = sorted(kind for kind, _ in of_ad(house, ad))
    assert seen == [TouchKind.CLICK, *[TouchKind.VIEW] * views]


def test_a_tap_leads_to_the_chat_and_counts_once(house: House, ad: MeasuredAd) -> None:
    address = link(house, ad)
    for _ in range(2):
        answer = house.client.get(address, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/chat/{house.webchat_id}")
    assert of_ad(house, ad) == [(TouchKind.CLICK, 200)]


def test_the_link_of_an_ad_to_its_chat_counts_a_person_once_a_day(house: House, ad: MeasuredAd) -> None:
    address = link(house, ad, TicketKind.CHAT, nonce=0)
    for _ in range(2):
        house.client.get(address, follow_redirects=False)
    assert len(of_ad(house, ad)) == 1
    house.client.cookies.clear()
    house.client.get(address, follow_redirects=False)
    assert len(of_ad(house, ad)) == 2


@pytest.mark.parametrize("viewer", ["viewer-1", "zoé 🙂; path=/", "日本", "a.b.c", "x" * 128])
def test_a_publishers_viewer_of_any_name_taps_and_is_nobody_of_that_name(
    house: House, ad: MeasuredAd, viewer: str
) -> None:
    assert house.client.get(link(house, ad, viewer=viewer), follow_redirects=False).status_code == 303
    for named in (viewer, f"viewer:{viewer}"):
        person = house.context.vault.named_id(house.webchat_id, named)
        assert not house.context.db.read_now(
            lambda tx, who=person: list_touches_of(tx, house.business_id, who)  # type: ignore[misc]
        )
    secret = house.client.cookies[cookie_name(house.webchat_id)].partition(".")[0]
    shown = public_id(secret, house.webchat_id, house.context.vault.derivation_key(VISITOR_KEY))
    person = house.context.vault.named_id(house.webchat_id, shown)
    found = house.context.db.read_now(lambda tx: list_touches_of(tx, house.business_id, person))
    assert [touch.ad_id for touch in found] == [ad.ad_id]
    sent = {"client_message_id": "message-1", "text": "Hi"}
    assert house.client.post(f"/chat/{house.webchat_id}/messages", json=sent).json()["accepted"] is True


def test_a_publisher_names_the_person_of_a_platform(house: House) -> None:
    made = make.ad(
        house.business_id, channel_account_id=house.tiktok_id, landing_path="https://www.tiktok.com/@k"
    )
    house.context.db.write_now(lambda tx: publish_ad(tx, made))
    tapped = house.client.get(link(house, made, viewer="u1"), follow_redirects=False)
    assert tapped.headers["location"] == "https://www.tiktok.com/@k"
    assert "contatto_chat" not in tapped.headers.get("set-cookie", "")
    person = house.context.vault.named_id(house.tiktok_id, "u1")
    found = house.context.db.read_now(lambda tx: list_touches_of(tx, house.business_id, person))
    assert [touch.kind for touch in found] == [TouchKind.CLICK]


def test_a_link_that_was_forwarded_opens_nobody_elses_chat(house: House, ad: MeasuredAd) -> None:
    address = link(house, ad, viewer="the first")
    house.client.get(address, follow_redirects=False)
    cookie = cookie_name(house.webchat_id)
    first = house.client.cookies[cookie]
    house.client.cookies.clear()
    house.client.get(address, follow_redirects=False)
    assert house.client.cookies[cookie].split(".")[0] != first.split(".")[0]


@pytest.mark.parametrize("door", ["v", "c"])
@pytest.mark.parametrize("token", ["x", "%00", "é", "²", "A" * 4_000, "=" * 10, "-_-_"])
def test_a_forged_link_is_refused_and_counts_nothing(house: House, door: str, token: str) -> None:
    with nothing_changes(house.context.db):
        answer = house.client.get(f"/t/{door}/{token}", follow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "unsigned")


def test_a_link_of_an_ad_that_is_gone_is_not_found(house: House) -> None:
    with nothing_changes(house.context.db):
        answer = house.client.get(link(house, make.ad(house.business_id)), follow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_link_for_another_business_finds_no_ad_of_this_one(house: House, ad: MeasuredAd) -> None:
    stolen = TrackingTicket(TicketKind.CLICK, "another business", ad.ad_id, 1)
    address = f"/t/c/{sign_ticket(stolen, house.context.vault.signer(TRACKING_KEY))}"
    with nothing_changes(house.context.db):
        assert house.client.get(address, follow_redirects=False).status_code == 404
