"""A browser that subscribed is told while no page is open; only it can open what it is sent."""

import re
import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contatto.accounts import actions as accounts
from contatto.accounts.model import Member, Role
from contatto.alerts.connectors.web_push import MessageKey, PushEndpoint, read_service_answer, seal_message
from contatto.alerts.model import AlertChoices
from contatto.alerts.store import alert_choices, alerts
from contatto.kit.db.tx import row_of
from contatto.kit.outbound.model import Done, Failed, HttpAnswer, NotNow
from contatto.kit.values import from_base64url, to_base64url
from tests import postgres
from tests.alerts.push_service import OwnBrowser, PushService, claims_of, running_push_service
from tests.journeys.running import House, message, running_house, until
from tests.people.conftest import Person, add_member
from tests.quoting import quotes
from tests.unchanged import all_rows, nothing_changes, wait_until_quiet

PAGE, ROUTE = "/settings/alerts", "/settings/alerts/browsers"
SENT_AS = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8w"
    "EqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_a_message_is_sealed_as_in_the_example_of_the_standard() -> None:
    """Source: RFC 8291, section 5 and appendix A."""
    private = int.from_bytes(from_base64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
    browser = PushEndpoint(
        "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
    )
    chance = MessageKey(
        ec.derive_private_key(private, ec.SECP256R1()), from_base64url("DGv6ra1nlYgDCS1FRnbzlw")
    )
    sealed = seal_message(b"When I grow up, I want to be a watermelon", browser, chance)
    assert to_base64url(sealed) == SENT_AS


def test_an_answer_is_taken_tried_again_or_the_end() -> None:
    said = {status: read_service_answer(HttpAnswer(status, {}, b"")) for status in (201, 410, 400, 429, 503)}
    kinds = {status: type(step) for status, step in said.items()}
    assert kinds == {201: Done, 410: Done, 400: Failed, 429: NotNow, 503: NotNow}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, allowed = tmp_path_factory.mktemp("pushed"), ("127.0.0.1:*",)
    if request.param == "sqlite":
        with running_house(folder, allowed_hosts=allowed) as running:
            yield running
        return
    emptied = request.getfixturevalue("emptied_databases")
    taken = emptied.take()
    with running_house(folder, database_url=postgres.url_of(taken.name), allowed_hosts=allowed) as running:
        yield running
    emptied.give_back(taken)


@pytest.fixture(scope="module")
def service(house: House) -> Iterator[PushService]:
    """One for each house: what the other one sent is not found here."""
    with running_push_service() as running:
        yield running


def told_in_a_browser(house: House, email: str, browser: OwnBrowser) -> tuple[Member, Person]:
    """A member who subscribed on the page, and wants to be told of leads."""
    member = add_member(house, email)
    chosen = AlertChoices(member.business_id, member.id, pushed=("lead",))
    house.context.db.write_now(lambda tx: tx.save(alert_choices, row_of(chosen)))
    person = Person(house)
    person.log_in(email)
    assert person.send(ROUTE, page=PAGE, **browser.form()).status_code == 303
    return member, person


def write(house: House, text: str, user: str) -> None:
    now_ms = int(house.context.clock.now().timestamp() * 1000)
    assert house.webhook("im_receive_msg", message(text, user, now_ms)).status_code == 200


def pushed_to(house: House, member: Member, count: int) -> bool:
    """Whether so many alerts of a member were handed over, and nothing waits any more."""

    def are_told() -> bool:
        mine = alerts.select().where(alerts.c.member_id == member.id, alerts.c.push_at.is_(None))
        return len(house.context.db.read_now(lambda tx: tx.execute(mine).all())) >= count

    done = until(are_told)
    wait_until_quiet(house.context.db)
    return done


def test_a_lead_is_told_of_while_no_page_is_open(house: House, service: PushService) -> None:
    browser = OwnBrowser(f"{service.url}/mei")
    _, person = told_in_a_browser(house, "mei@example.com", browser)
    key = re.search(r'data-key="([\w-]+)"', person.open(PAGE))
    write(house, "my number is +65 8123 4567", "anna")
    assert until(lambda: service.to("/mei"))
    sent = service.to("/mei")[0]
    told = browser.open(sent.body)
    assert (told["title"], told["body"]) == ("A new lead", "Kopi and Co")
    assert not quotes(str(told), "81234567")
    assert "+6581234567" in person.open(told["path"])
    claims, signed_by = claims_of(sent.headers["authorization"])
    assert claims["aud"] == service.url
    assert 0 < claims["exp"] - time.time() <= 24 * 3_600
    assert key is not None
    assert signed_by == key[1]
    assert (sent.headers["content-encoding"], sent.headers["ttl"]) == ("aes128gcm", "14400")


def test_a_browser_that_is_gone_is_forgotten(house: House, service: PushService) -> None:
    for number, status in enumerate((404, 410)):
        path = f"/gone{number}"
        member, _ = told_in_a_browser(house, f"gone{number}@example.com", OwnBrowser(service.url + path))
        service.plays = [status] * 20
        write(house, f"my number is +65 8123 456{number}", f"of {path}")
        assert until(lambda path=path: service.to(path))  # type: ignore[misc]
        assert until(
            lambda member=member: (
                not [  # type: ignore[misc]
                    row for row in all_rows(house.context.db)["push_browsers"] if member.id in row
                ]
            )
        )
        service.plays = []


def test_who_signed_out_everywhere_or_was_let_go_is_told_nothing(house: House, service: PushService) -> None:
    out, person = told_in_a_browser(house, "out@example.com", OwnBrowser(f"{service.url}/out"))
    gone, _ = told_in_a_browser(house, "let-go@example.com", OwnBrowser(f"{service.url}/let-go"))
    assert person.send("/logout", page=PAGE).status_code == 303
    write(house, "my number is +65 8123 4577", "carl")
    assert pushed_to(house, out, 1)
    house.context.db.write_now(lambda tx: accounts.deactivate_member(tx, gone))
    write(house, "my number is +65 8123 4578", "dora")
    assert pushed_to(house, out, 2)
    assert service.to("/out") == []
    assert len(service.to("/let-go")) <= 1


def test_who_uses_a_browser_after_another_is_told_there_alone(house: House, service: PushService) -> None:
    shared = OwnBrowser(f"{service.url}/shared")
    first, _ = told_in_a_browser(house, "first@example.com", shared)
    second, person = told_in_a_browser(house, "second@example.com", shared)
    rows = all_rows(house.context.db)["push_browsers"]
    assert [first.id in repr(rows), second.id in repr(rows)] == [False, True]
    [browser_id] = re.findall(r"/browsers/([\w-]+)/remove", person.open(PAGE))
    stranger = Person(house)
    add_member(house, "stranger@example.com", Role.OWNER)
    stranger.log_in("stranger@example.com")
    with nothing_changes(house.context.db):
        assert stranger.send(f"{ROUTE}/{browser_id}/remove", page=PAGE).status_code == 404
    assert person.send(f"{ROUTE}/{browser_id}/remove", page=PAGE).status_code == 303
    assert f"/browsers/{browser_id}" not in person.open(PAGE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "http://push.example.com/x"},
        {"endpoint": "https://push.example.com:8443/x"},
        {"endpoint": "https://user:pass@push.example.com/x"},
        {"endpoint": "http://10.0.0.1/x"},
        {"endpoint": "file:///etc/passwd"},
        {"public_key": to_base64url(b"\x04" + bytes(64))},
        {"secret": "c2hvcnQ"},
    ],
    ids=str,
)
def test_what_no_browser_gives_is_refused(house: House, wrong: dict[str, str]) -> None:
    person = Person(house)
    person.log_in("owner@example.com")
    good = OwnBrowser("https://push.example.com/x").form()
    with nothing_changes(house.context.db):
        assert person.send(ROUTE, page=PAGE, **(good | wrong)).status_code == 422


def test_a_browser_at_an_address_inside_is_sent_nothing_and_forgotten(house: House) -> None:
    """Nothing is looked up while a member subscribes, so the address is checked when something is sent."""
    inside = OwnBrowser("https://10.0.0.1/inside")
    member, person = told_in_a_browser(house, "inside@example.com", inside)
    assert "/browsers/" in person.open(PAGE)
    write(house, "call +65 8123 4577", "inside-user")
    assert pushed_to(house, member, 1)

    assert until(lambda: not [row for row in all_rows(house.context.db)["push_browsers"] if member.id in row])
