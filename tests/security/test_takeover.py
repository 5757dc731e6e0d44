"""Attacks by owners of another business, and by strangers, on the accounts and the addresses of people."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from contatto.accounts import actions as accounts
from contatto.accounts import store
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Member, Role
from contatto.kit.db.tx import Tx
from tests.client import client_beside
from tests.journeys.running import EMAIL, PASSWORD, House, running_house, weak_hash
from tests.mailbox import Mailbox, text_of
from tests.people.conftest import (
    MEI,
    Person,
    add_member,
    found,
    member_of,
    running_mailing_house,
    second_business,
)
from tests.unchanged import nothing_changes

RIVAL, CHOSEN = "rival@example.com", "a password of the rival"


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    """An installation without a mail server, with the business of the owner and that of a rival."""
    with running_house(tmp_path, database_url=database_url) as running:
        add_rival(running)
        yield running


@pytest.fixture
def mailing_house(tmp_path: Path, database_url: str, mailbox: Mailbox) -> Iterator[House]:
    with running_mailing_house(tmp_path, database_url, mailbox) as running:
        add_rival(running)
        yield running


def add_rival(house: House) -> None:
    def make(tx: Tx) -> None:
        business = accounts.create_business(tx, "Rival and Co")
        new = NewMember(RIVAL, "Rival", Role.OWNER)
        accounts.add_member(tx, business.id, new, weak_hash(PASSWORD))

    house.context.db.write_now(make)


def signed_in(house: House, email: str) -> Person:
    person = Person(house)
    assert person.log_in(email).status_code == 303
    return person


def rival_member(house: House) -> Member:
    """Mei, as a member of the rival alone."""
    return add_member(house, MEI, Role.ADMIN, member_of(house, RIVAL).business_id)


def reset_link(rival: Person, member: Member) -> str:
    shown = rival.send(f"/settings/members/{member.id}/reset", page="/settings/members").text
    return found(r"(/password/reset/[\w.=~-]+)", shown)


def join_here(house: House) -> None:
    def join(tx: Tx) -> None:
        user = store.find_user_by_email(tx, MEI)
        assert user is not None
        accounts.join_business(tx, member_of(house, EMAIL).business_id, user, "Mei", Role.ADMIN)

    house.context.db.write_now(join)


def refuses(house: House, path: str) -> None:
    stranger = Person(house)
    with nothing_changes(house.context.db):
        assert stranger.client.get(path).status_code == 404
        assert stranger.send(path, page="/login", password=CHOSEN).status_code == 404


def test_a_reset_link_dies_when_its_person_joins_another_business(house: House) -> None:
    path = reset_link(signed_in(house, RIVAL), rival_member(house))
    join_here(house)
    refuses(house, path)


def test_a_reset_link_dies_when_a_place_elsewhere_is_given_back(house: House) -> None:
    member = rival_member(house)
    join_here(house)
    [here] = [
        each for each in house.context.db.read_now(lambda tx: store.list_members(
            tx, member_of(house, EMAIL).business_id)) if each.email == MEI
    ]  # fmt: skip
    house.context.db.write_now(lambda tx: accounts.deactivate_member(tx, here))
    rival = signed_in(house, RIVAL)
    with nothing_changes(house.context.db):
        assert rival.send(f"/settings/members/{member.id}/reset").status_code == 403


@pytest.mark.parametrize("change", ["role", "deactivated and back", "password", "e-mail", "giver leaves"])
def test_a_reset_link_dies_with_each_change_of_its_person_or_its_giver(house: House, change: str) -> None:
    member, rival = rival_member(house), signed_in(house, RIVAL)
    path = reset_link(rival, member)
    giver = member_of(house, RIVAL)

    def work(tx: Tx) -> None:
        if change == "role":
            accounts.set_member_role(tx, member, Role.AGENT)
        elif change == "deactivated and back":
            accounts.deactivate_member(tx, member)
            accounts.reactivate_member(tx, member)
        elif change == "password":
            accounts.change_password(tx, member, member.password_hash)
        elif change == "e-mail":
            store.record_access_changed(tx, member.user_id, email="mei@elsewhere.example.com")
        else:
            second = NewMember("second@example.com", "Second", Role.OWNER)
            accounts.add_member(tx, giver.business_id, second, "")
            accounts.deactivate_member(tx, giver)

    house.context.db.write_now(work)
    refuses(house, path)


def test_a_password_that_a_colleague_chose_opens_no_other_business(house: House) -> None:
    """The owner uses their own link; from then on the account counts in their business alone."""
    path = reset_link(signed_in(house, RIVAL), rival_member(house))
    rival = Person(house)
    assert rival.send(path, page=path, password=CHOSEN).status_code == 303
    invitation = signed_in(house, EMAIL).invite(MEI, "admin")
    with nothing_changes(house.context.db, "failed_logins"):
        assert rival.join(invitation, CHOSEN, has_account="true").status_code == 401
    assert rival.join(invitation, "mei's own password").status_code == 303
    attacker = Person(house)
    assert attacker.log_in(MEI, CHOSEN).status_code == 303
    assert "Rival and Co" in attacker.open("/inbox")
    assert "Kopi and Co" not in attacker.open("/settings/profile")


def test_an_invitation_without_mail_makes_no_account_that_counts_elsewhere(house: House) -> None:
    """The rival takes somebody's address; its owner joins another business as if nobody had it."""
    rival = Person(house)
    assert rival.join(signed_in(house, RIVAL).invite(MEI, "admin"), CHOSEN).status_code == 303
    mei = Person(house)
    assert mei.join(signed_in(house, EMAIL).invite(MEI, "agent"), "mei's own password").status_code == 303
    mei_again = Person(house)
    assert mei_again.log_in(MEI, "mei's own password").status_code == 303
    assert "Kopi and Co" in mei_again.open("/inbox")
    assert "Rival and Co" not in mei_again.open("/settings/profile")
    assert "Kopi and Co" not in rival.open("/settings/profile")


def test_an_invitation_page_answers_alike_whether_an_account_exists(house: House) -> None:
    """The inviter opens and sends the page themselves, with every answer that it takes."""
    second_business(house, EMAIL)  # the owner has an account, the other address has none
    rival = signed_in(house, RIVAL)
    answers = []
    for email in (EMAIL, "nobody@example.com"):
        path = rival.invite(email)
        answers.append(
            [
                plain(Person(house).client.get(path), email),
                plain(Person(house).join(path, "a wrong guess", has_account="true"), email),
                plain(Person(house).join(path, CHOSEN), email),
            ]
        )
    assert answers[0] == answers[1]


def test_a_link_to_copy_mails_the_same_answer_whether_an_account_exists(
    mailing_house: House, mailbox: Mailbox
) -> None:
    house = mailing_house
    rival = signed_in(house, RIVAL)
    answers = []
    for email in (EMAIL, "nobody@example.com"):
        path = rival.invite(email)
        mailbox.next_to(email)
        with nothing_changes(house.context.db):
            answers.append(plain(Person(house).client.get(path), email))
        answers.append(plain(Person(house).join(path, CHOSEN), email))
    assert answers[:2] == answers[2:]
    assert house.context.db.read_now(lambda tx: store.find_user_by_email(tx, "nobody@example.com")) is None


def plain(answer: httpx2.Response, email: str) -> tuple[int, str]:
    """Status and text of an answer, without what differs between any two."""
    text = re.sub(r"[\w-]{43}|/invitations/\S+|\?next=\S+", "", answer.text)
    return answer.status_code, text.replace(email, "")


def test_mei_gets_her_account_by_mail_whoever_took_her_address_before(
    mailing_house: House, mailbox: Mailbox
) -> None:
    house = mailing_house
    member = rival_member(house)
    vouched = {"vouched_by": member.business_id}
    house.context.db.write_now(lambda tx: store.record_access_changed(tx, member.user_id, **vouched))
    signed_in(house, EMAIL).invite(MEI, "agent")
    path = found(r"(/invitations/\S+)", text_of(mailbox.next_to(MEI)))
    mei = Person(house)
    assert mei.join(path, "mei's own password").status_code == 303
    assert "Rival and Co" not in mei.open("/settings/profile")


def test_requests_of_a_stranger_do_not_use_up_the_resets_of_a_member(mailing_house: House) -> None:
    add_member(mailing_house, MEI)
    stranger, mei = Person(mailing_house), Person(mailing_house)
    mei.client = client_beside(mailing_house.client, "198.51.100.7")

    def ask(person: Person) -> int:
        return person.send("/password/forgotten", page="/password/forgotten", email=MEI).status_code

    assert [ask(stranger) for _ in range(6)] == [200] * 5 + [429]
    assert ask(mei) == 200


@pytest.mark.parametrize(
    "address",
    ["<a@b.example.com>", "a;b@example.com", "a@b", "a,b@example.com", "Mei <mei@example.com>",
     "a@b@example.com",
     "a..b@example.com", "a@-b.example.com", "a@[127.0.0.1]", "a@example.com\r\nBcc: b@example.com",
     '"a b"@example.com', "a@exa mple.com", "a@127.0.0.1"],
)  # fmt: skip
def test_odd_addresses_are_refused_wherever_they_are_typed(mailing_house: House, address: str) -> None:
    owner = signed_in(mailing_house, EMAIL)
    with nothing_changes(mailing_house.context.db):
        assert owner.send("/settings/invitations", email=address, role="agent").status_code == 422
        forgotten = Person(mailing_house).send(
            "/password/forgotten", page="/password/forgotten", email=address
        )
        assert forgotten.status_code == 422
        assert Person(mailing_house).log_in(address).status_code == 401
