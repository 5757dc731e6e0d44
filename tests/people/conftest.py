"""A house that sends its mails to a mail server of this machine, and people with browsers of their own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from contatto.accounts import actions as accounts
from contatto.accounts import store
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Business, BusinessId, Member, Role
from contatto.kit.db.tx import Tx
from tests.client import client_beside
from tests.journeys.running import PASSWORD, House, csrf_of, running_house, weak_hash
from tests.mailbox import Mailbox

MEI = "mei@example.com"


@contextmanager
def running_mailing_house(folder: Path, database_url: str, mailbox: Mailbox) -> Iterator[House]:
    """A house that sends its mails to a mail server of this machine."""
    sender = "Contatto <contatto@kopi.example.com>"
    with running_house(folder, database_url=database_url, smtp_url=mailbox.url, mail_from=sender) as running:
        yield running


@pytest.fixture
def house(tmp_path: Path, database_url: str, mailbox: Mailbox) -> Iterator[House]:
    with running_mailing_house(tmp_path, database_url, mailbox) as running:
        yield running


@pytest.fixture
def silent_house(tmp_path: Path, database_url: str) -> Iterator[House]:
    """A house without a mail server."""
    with running_house(tmp_path, database_url=database_url) as running:
        yield running


class Person:
    """Somebody with a browser of their own at a house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.client = client_beside(house.client)

    def log_in(self, email: str, password: str = PASSWORD) -> httpx2.Response:
        return self.send("/login", page="/login", email=email, password=password)

    def open(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.headers.get("location"))
        return answer.text

    def send(self, path: str, page: str = "/settings", **form: str) -> httpx2.Response:
        """Send a form of a page."""
        return self.client.post(path, data=form | {"csrf_token": csrf_of(self.open(page))})

    def invite(self, email: str, role: str = "agent") -> str:
        """Invite somebody, and give the path of the link that the page shows."""
        answer = self.send("/settings/invitations", email=email, role=role)
        assert answer.status_code == 303, answer.text
        return found(r"(/invitations/[\w.=~-]+)", self.open("/settings/members"))

    def join(self, path: str, password: str, name: str = "Mei", **more: str) -> httpx2.Response:
        return self.send(path, page=path, display_name=name, password=password, **more)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, f"{pattern} is not there"
    return match[1]


def member_of(house: House, email: str) -> Member:
    return house.context.db.read_now(lambda tx: store.list_members_by_email(tx, email))[0]


def add_member(house: House, email: str, role: Role = Role.AGENT, business_id: str = "") -> Member:
    hashed, new = weak_hash(PASSWORD), NewMember(email, email.partition("@")[0], role)
    of = BusinessId(business_id or house.business_id)
    return house.context.db.write_now(lambda tx: accounts.add_member(tx, of, new, hashed))


def second_business(house: House, email: str, role: Role = Role.ADMIN) -> Business:
    """Another business, in which somebody who is known already works too."""

    def make(tx: Tx) -> Business:
        business = accounts.create_business(tx, "Teh and Co")
        user = store.find_user_by_email(tx, email)
        assert user is not None
        accounts.join_business(tx, business.id, user, "There", role)
        return business

    return house.context.db.write_now(make)
