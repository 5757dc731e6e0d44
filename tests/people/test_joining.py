"""Invitations: a link that works once, for who was meant, as long as whoever invited may invite."""

from datetime import timedelta

import pytest

from contatto.accounts import actions as accounts
from contatto.accounts import store
from contatto.accounts.model import BusinessId, Role
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.people import actions
from contatto.people.store import invitations, purge_invitations
from tests import make
from tests.journeys.running import EMAIL, PASSWORD, House
from tests.mailbox import Mailbox, text_of
from tests.people.conftest import MEI, Person, add_member, found, member_of, second_business
from tests.unchanged import nothing_changes


def owner_of(house: House) -> Person:
    owner = Person(house)
    owner.log_in(EMAIL)
    return owner


def test_an_invitation_by_mail_leads_to_the_first_log_in(house: House, mailbox: Mailbox) -> None:
    shown = owner_of(house).invite(MEI, "manager")
    mail = mailbox.next_to(MEI)
    assert mail["Subject"] == "Owner invites you to Kopi and Co"
    path = found(r"http://127.0.0.1:8000(/invitations/\S+)", text_of(mail))
    assert path != shown
    mei = Person(house)
    page = mei.open(path)
    assert "Kopi and Co" in page
    assert "Manager" in page
    assert mei.join(path, "a fine long password").headers["location"] == "/"
    mei.open("/inbox")
    assert (member_of(house, MEI).role, member_of(house, MEI).display_name) == (Role.MANAGER, "Mei")
    assert Person(house).log_in(MEI, "a fine long password").status_code == 303


def test_a_link_works_once(silent_house: House) -> None:
    house = silent_house
    path = owner_of(house).invite(MEI)
    first, second = Person(house), Person(house)
    second.open(path)
    assert first.join(path, PASSWORD).status_code == 303
    with nothing_changes(house.context.db):
        assert second.client.get(path).status_code == 404
        form = {"display_name": "Two", "password": PASSWORD}
        assert second.send(path, page="/login", **form).status_code == 404


def test_a_short_password_asks_again_and_uses_nothing_up(silent_house: House) -> None:
    house = silent_house
    path = owner_of(house).invite(MEI)
    mei = Person(house)
    with nothing_changes(house.context.db):
        assert mei.join(path, "short").status_code == 422
    assert mei.join(path, PASSWORD).status_code == 303


def test_an_invitation_without_an_e_mail_asks_for_it_and_mails_the_link(
    house: House, mailbox: Mailbox
) -> None:
    shown, mei = owner_of(house).invite(""), Person(house)
    with nothing_changes(house.context.db):
        assert mei.send(shown, page=shown, email="<a@b>").status_code == 422
    assert "on its way" in mei.send(shown, page=shown, email=MEI).text
    path = found(r"(/invitations/\S+)", text_of(mailbox.next_to(MEI)))
    assert mei.join(path, PASSWORD).status_code == 303
    assert member_of(house, MEI).vouched_by == ""


def test_an_invitation_names_the_e_mail_where_no_mail_can_confirm_it(silent_house: House) -> None:
    owner = owner_of(silent_house)
    with nothing_changes(silent_house.context.db):
        answer = owner.send("/settings/invitations", email="", role="agent")
    assert answer.status_code == 422
    assert "Enter an address" in answer.text


def test_an_invitation_sends_some_mails_and_no_more(house: House) -> None:
    shown, mei = owner_of(house).invite(""), Person(house)
    statuses = [mei.send(shown, page=shown, email=f"m{n}@example.com").status_code for n in range(11)]
    assert statuses == [200] * 10 + [429]


def test_who_works_elsewhere_gives_the_password_that_they_have(silent_house: House) -> None:
    """Else whoever invites an address could choose the password of its person everywhere."""
    house = silent_house
    there = house.context.db.write_now(lambda tx: accounts.create_business(tx, "Teh and Co"))
    add_member(house, MEI, Role.OWNER, there.id)
    path = owner_of(house).invite(MEI)
    mei = Person(house)
    with nothing_changes(house.context.db, "failed_logins"):
        assert mei.join(path, "another long password", has_account="true").status_code == 401
    assert mei.join(path, PASSWORD, has_account="true").status_code == 303
    assert "Kopi and Co" in mei.open("/inbox")


def test_the_password_of_an_invitation_cannot_be_guessed(silent_house: House) -> None:
    house = silent_house
    there = house.context.db.write_now(lambda tx: accounts.create_business(tx, "Teh and Co"))
    add_member(house, MEI, Role.OWNER, there.id)
    path = owner_of(house).invite(MEI)
    statuses = [
        Person(house).join(path, f"a wrong guess {number}", has_account="true").status_code
        for number in range(11)
    ]
    assert statuses == [401] * 10 + [429]


def test_an_invitation_opens_its_own_business_alone(silent_house: House) -> None:
    house = silent_house
    other = house.context.db.write_now(lambda tx: accounts.create_business(tx, "Teh and Co"))
    path = owner_of(house).invite(MEI)
    mei = Person(house)
    mei.join(path, PASSWORD)
    with nothing_changes(house.context.db):
        assert mei.send("/switch", business_id=other.id).status_code == 404


@pytest.mark.parametrize("how", ["withdrawn", "expired", "inviter deactivated", "inviter demoted"])
def test_an_invitation_ends(database: Database, clock: FixedClock, how: str) -> None:
    def invite(tx: Tx) -> tuple[str, str]:
        business = make.business(tx)
        make.member(tx, business.id)
        admin = make.member(tx, business.id, "admin@example.com", Role.ADMIN)
        by = make.caller_of(admin, business)
        made = actions.invite_member(tx, business.id, MEI, Role.AGENT, by)
        if how == "withdrawn":
            assert tx.delete(invitations, business.id, id=made.id) == 1
        if how == "inviter deactivated":
            accounts.deactivate_member(tx, admin)
        if how == "inviter demoted":
            accounts.set_member_role(tx, admin, Role.AGENT)
        return actions.invitation_path(tx, made), business.id

    path, _ = database.write_now(invite)
    if how == "expired":
        clock.advance(days=7)
    token = path.rpartition("/")[2]
    with nothing_changes(database), pytest.raises(Refused, match="link_over"):
        database.write_now(lambda tx: actions.accept_invitation(tx, token, "Mei", "a hash", None))


def test_who_may_not_give_a_role_does_not_invite_to_it(silent_house: House) -> None:
    house = silent_house
    add_member(house, "admin@example.com", Role.ADMIN)
    add_member(house, "agent@example.com")
    for email, role in (("admin@example.com", "owner"), ("agent@example.com", "agent")):
        person = Person(house)
        person.log_in(email)
        with nothing_changes(house.context.db):
            assert person.send("/settings/invitations", email=MEI, role=role).status_code in (403, 422)


def test_members_and_deactivated_members_are_not_invited(silent_house: House) -> None:
    house = silent_house
    owner, gone = owner_of(house), add_member(house, MEI)
    assert owner.send("/settings/invitations", email=MEI.upper(), role="agent").status_code == 422
    owner.send(f"/settings/members/{gone.id}/deactivate")
    answer = owner.send("/settings/invitations", email=MEI, role="agent")
    assert "was deactivated" in answer.text


def test_a_second_invitation_ends_the_first(silent_house: House) -> None:
    house = silent_house
    owner = owner_of(house)
    first = owner.invite(MEI)
    assert owner.invite(MEI) != first
    assert Person(house).client.get(first).status_code == 404


def test_a_second_business_does_not_see_invitations_of_the_first(silent_house: House) -> None:
    house = silent_house
    owner_of(house).invite(MEI)
    add_member(house, "kai@example.com")
    second_business(house, "kai@example.com", Role.OWNER)
    kai = Person(house)
    kai.log_in("kai@example.com")
    kai.send("/switch", business_id=member_elsewhere(house))
    page = kai.open("/settings/members")
    assert "There" in page
    assert MEI not in page


def member_elsewhere(house: House) -> BusinessId:
    """The business in which Kai works besides."""

    def look(tx: Tx) -> BusinessId:
        user = store.find_user_by_email(tx, "kai@example.com")
        assert user is not None
        return next(
            each.business_id for each in store.list_workplaces(tx, user.id) if each.name == "Teh and Co"
        )

    return house.context.db.read_now(look)


def test_invitations_that_are_over_are_deleted(database: Database, clock: FixedClock) -> None:
    database.write_now(lambda tx: actions.invite_member(tx, make.business(tx).id, MEI, Role.AGENT))
    assert database.write_now(purge_invitations) == 0
    clock.advance(seconds=timedelta(days=7).total_seconds())
    assert database.write_now(purge_invitations) == 1
