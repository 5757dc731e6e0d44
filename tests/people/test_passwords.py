"""A forgotten password, and one that its owner changes: what came in with the old one is out."""

from datetime import timedelta

from contatto.accounts import actions as accounts
from contatto.accounts.model import Role
from contatto.people import actions
from tests.journeys.running import EMAIL, PASSWORD, House
from tests.mailbox import Mailbox, text_of
from tests.people.conftest import MEI, Person, add_member, found, member_of, second_business
from tests.unchanged import nothing_changes

NEW = "the new long password"


def ask(house: House, email: str) -> str:
    return Person(house).send("/password/forgotten", page="/password/forgotten", email=email).text


def reset_path(mailbox: Mailbox, number: int = 1) -> str:
    return found(r"(/password/reset/\S+)", text_of(mailbox.next_to(MEI, number)))


def test_a_forgotten_password_is_replaced_by_the_link_in_the_mail(house: House, mailbox: Mailbox) -> None:
    add_member(house, MEI)
    before = Person(house)
    before.log_in(MEI)
    ask(house, f" {MEI.upper()} ")
    path, mei = reset_path(mailbox), Person(house)
    assert mei.send(path, page=path, password="short").status_code == 422
    assert mei.send(path, page=path, password=NEW).headers["location"] == "/login?reset=1"
    assert before.client.get("/inbox").status_code == 303
    assert mei.log_in(MEI, PASSWORD).status_code == 401
    assert mei.log_in(MEI, NEW).status_code == 303
    assert "was changed" in text_of(mailbox.next_to(MEI, 2))


def test_a_link_to_a_new_password_works_once_and_not_after_another(house: House, mailbox: Mailbox) -> None:
    add_member(house, MEI)
    ask(house, MEI)
    ask(house, MEI)
    first, second = reset_path(mailbox, 1), reset_path(mailbox, 2)
    mei = Person(house)
    mei.send(second, page=second, password=NEW)
    with nothing_changes(house.context.db):
        for path in (first, second):
            assert mei.client.get(path).status_code == 404
            assert mei.send(path, page="/login", password="one more password").status_code == 404


def test_nobody_learns_from_the_answer_who_has_an_account(house: House, mailbox: Mailbox) -> None:
    add_member(house, MEI)
    known, unknown = ask(house, MEI), ask(house, "nobody@example.com")
    csrf = r'content="([\w-]{43})"'
    assert known.replace(found(csrf, known), "") == unknown.replace(found(csrf, unknown), "")
    mailbox.next_to(MEI)
    assert [mail["To"] for mail in mailbox.mails] == [MEI]


def test_as_many_links_are_asked_for_as_one_needs_and_no_more(house: House) -> None:
    """For an address that nobody has as well: the limit tells nothing either."""
    for email in (MEI, "nobody@example.com"):
        answers = [
            Person(house).send("/password/forgotten", page="/password/forgotten", email=email).status_code
            for _ in range(6)
        ]
        assert answers == [200] * 5 + [429]


def test_a_link_ends_with_its_hour_and_with_the_membership(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI)
    db = house.context.db
    mei_here = member_of(house, MEI)
    old = db.read_now(lambda tx: actions.reset_path(tx, mei_here, timedelta(0)))
    fresh = db.read_now(lambda tx: actions.reset_path(tx, mei_here, timedelta(hours=1)))
    mei = Person(house)
    assert mei.client.get(old).status_code == 404
    assert mei.client.get(fresh).status_code == 200
    member = member_of(house, MEI)
    db.write_now(lambda tx: accounts.deactivate_member(tx, member))
    assert mei.client.get(fresh).status_code == 404


def test_without_a_mail_server_the_page_says_whom_to_ask(silent_house: House) -> None:
    add_member(silent_house, MEI)
    with nothing_changes(silent_house.context.db):
        assert "does not send e-mail" in ask(silent_house, MEI)


def test_an_owner_hands_out_a_link_that_leads_to_a_new_password(silent_house: House) -> None:
    house = silent_house
    member, owner = add_member(house, MEI), Person(house)
    owner.log_in(EMAIL)
    shown = owner.send(f"/settings/members/{member.id}/reset", page="/settings/members").text
    path = found(r"http://127.0.0.1:8000(/password/reset/[\w.=~-]+)", shown)
    mei = Person(house)
    mei.send(path, page=path, password=NEW)
    assert mei.log_in(MEI, NEW).status_code == 303


def test_no_link_is_handed_out_to_who_works_elsewhere_too(silent_house: House) -> None:
    """Whoever holds it could enter the other business."""
    house = silent_house
    member, owner = add_member(house, MEI), Person(house)
    second_business(house, MEI)
    owner.log_in(EMAIL)
    with nothing_changes(house.context.db):
        answer = owner.send(f"/settings/members/{member.id}/reset", page="/settings/members")
        assert answer.status_code == 403


def test_an_admin_hands_out_no_link_for_an_owner(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI, Role.ADMIN)
    admin, owner = Person(house), member_of(house, EMAIL)
    admin.log_in(MEI)
    with nothing_changes(house.context.db):
        assert admin.send(f"/settings/members/{owner.id}/reset").status_code == 403


def change(person: Person, current: str, new: str, **more: str) -> int:
    form = {"current": current, "password": new} | more
    return person.send("/settings/profile/password", page="/settings/profile", **form).status_code


def test_the_own_password_is_changed_by_who_knows_it_and_this_session_goes_on(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI)
    here, elsewhere = Person(house), Person(house)
    for person in (here, elsewhere):
        person.log_in(MEI)
    assert change(here, "wrong", NEW) == 422
    elsewhere.open("/inbox")
    assert change(here, PASSWORD, NEW) == 303
    here.open("/inbox")
    assert elsewhere.client.get("/inbox").status_code == 303
    assert Person(house).log_in(MEI, NEW).status_code == 303


def test_a_new_password_ends_sessions_and_tokens_in_every_business(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI, Role.ADMIN)
    there = second_business(house, MEI)
    here, elsewhere = Person(house), Person(house)
    here.log_in(MEI)
    elsewhere.log_in(MEI)
    elsewhere.send("/switch", business_id=there.id)
    form = {"name": "program", "scopes": "ads.read"}
    token = found(r'id="new-token">([\w-]+)<', elsewhere.send("/settings/tokens", **form).text)
    ask_api = {"Access-Token": token}
    path = "/open_api/v1.3/oauth2/advertiser/get/"
    assert elsewhere.client.get(path, headers=ask_api).json()["code"] == 0
    assert change(here, PASSWORD, NEW) == 303
    assert elsewhere.client.get("/inbox").status_code == 303
    assert elsewhere.client.get(path, headers=ask_api).json()["code"] != 0


def test_tokens_go_on_where_that_is_asked(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI, Role.ADMIN)
    mei = Person(house)
    mei.log_in(MEI)
    form = {"name": "program", "scopes": "ads.read"}
    token = found(r'id="new-token">([\w-]+)<', mei.send("/settings/tokens", **form).text)
    assert change(mei, PASSWORD, NEW, keep_tokens="true") == 303
    path = "/open_api/v1.3/oauth2/advertiser/get/"
    assert mei.client.get(path, headers={"Access-Token": token}).json()["code"] == 0


def test_the_own_password_cannot_be_guessed_at_an_open_page(silent_house: House) -> None:
    house = silent_house
    add_member(house, MEI)
    mei = Person(house)
    mei.log_in(MEI)
    assert [change(mei, f"guess {number}", NEW) for number in range(11)] == [422] * 10 + [429]
