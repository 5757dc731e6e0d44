"""No order of joining, leaving, resetting and inviting lets a business into an account with another place."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contatto.accounts import actions as accounts
from contatto.accounts import store
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Business, Caller, Member, Role, User
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret
from contatto.people import actions, rules
from tests import make
from tests.examples import examples

MEI = "mei"
NUMBERS = itertools.count()
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "invite",
                "mei_joins",
                "mei_joins_with_account",
                "business_joins",
                "business_joins_with_account",
                "promote",
                "deactivate",
                "reactivate",
                "hand_out",
                "business_resets",
                "mei_resets",
                "operator_resets",
                "operator_adds",
                "change_password",
                "change_email",
            ]
        ),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    max_size=14,
)

type Steps = list[tuple[str, int, int]]
JOINS_ELSEWHERE: Steps = [
    ("operator_adds", 1, 0), ("hand_out", 1, 0), ("operator_adds", 0, 0), ("business_resets", 1, 0),
]  # fmt: skip
"""The link is made, then its person joins another business."""
COMES_BACK: Steps = [
    ("operator_adds", 0, 0), ("operator_adds", 1, 0), ("deactivate", 0, 0), ("hand_out", 1, 0),
    ("reactivate", 0, 0), ("business_resets", 1, 0),
]  # fmt: skip
"""The link is made while the place elsewhere is deactivated."""
JOINS_LATER: Steps = [
    ("operator_adds", 1, 0), ("hand_out", 1, 0), ("business_resets", 1, 0), ("operator_adds", 0, 0),
]  # fmt: skip
"""The person joins another business with a password that a colleague chose."""


@dataclass
class Rival:
    """A business that uses all links that it can hold, always with its own password."""

    business: Business
    owner: Caller
    invitations: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)


class Play:
    """Mei and two businesses that want to enter each other; a password hash is the word of its owner."""

    def __init__(self, tx: Tx, *, sends_mail: bool) -> None:
        self.tx, self.sends_mail = tx, sends_mail
        self.email = f"mei{next(NUMBERS)}@example.com"
        self.mailed: list[str] = []
        self.rivals = [self.open_business(name) for name in ("A", "B")]

    def open_business(self, name: str) -> Rival:
        business = make.business(self.tx, name)
        owner = make.member(self.tx, business.id, f"owner{next(NUMBERS)}@example.com")
        return Rival(business, make.caller_of(owner, business))

    def hash_of(self, word: str) -> str:
        return f"{word} {next(NUMBERS)}"

    def account_of(self, word: str) -> User | None:
        """The account of the confirmed address, if somebody who knows this password can enter it."""
        user = store.find_user_by_email(self.tx, self.email)
        return user if user and user.password_hash.startswith(word) else None

    def members(self) -> list[Member]:
        return store.list_members_by_email(self.tx, self.email)

    def member_at(self, rival: Rival) -> Member:
        member = store.find_member_of_email(self.tx, rival.business.id, self.email)
        if member is None:
            raise Refused(errors.NOT_FOUND)
        return member

    def do(self, step: str, which: int, number: int) -> None:
        getattr(self, step)(self.rivals[which], number)

    def invite(self, rival: Rival, number: int) -> None:
        email = "" if number == 0 and self.sends_mail else self.email
        made = actions.invite_member(
            self.tx, rival.business.id, email, Role.ADMIN, rival.owner, sends_mail=self.sends_mail
        )
        rival.invitations.append(actions.invitation_path(self.tx, made).rpartition("/")[2])
        if self.sends_mail:
            self.mailed.append(actions.invitation_path(self.tx, made, self.email).rpartition("/")[2])
        else:
            self.mailed.append(rival.invitations[-1])

    def join(self, tokens: list[str], number: int, word: str, account: User | None) -> Member:
        token = tokens[-1 - number % len(tokens)] if tokens else ""
        hashed = "" if account else self.hash_of(word)
        return actions.accept_invitation(self.tx, token, "Mei", hashed, account, sends_mail=self.sends_mail)

    def mei_joins(self, _: Rival, number: int) -> None:
        self.join(self.mailed, number, MEI, None)

    def mei_joins_with_account(self, _: Rival, number: int) -> None:
        self.join(self.mailed, number, MEI, self.account_of(MEI))

    def business_joins(self, rival: Rival, number: int) -> None:
        self.enter(rival, self.join(rival.invitations, number, rival.business.name, None))

    def business_joins_with_account(self, rival: Rival, number: int) -> None:
        name = rival.business.name
        self.enter(rival, self.join(rival.invitations, number, name, self.account_of(name)))

    def promote(self, rival: Rival, number: int) -> None:
        role = Role.OWNER if number % 2 else Role.AGENT
        accounts.set_member_role(self.tx, self.member_at(rival), role, rival.owner)

    def deactivate(self, rival: Rival, _: int) -> None:
        accounts.deactivate_member(self.tx, self.member_at(rival), rival.owner)

    def reactivate(self, rival: Rival, _: int) -> None:
        accounts.reactivate_member(self.tx, self.member_at(rival), rival.owner)

    def hand_out(self, rival: Rival, _: int) -> None:
        of = self.member_at(rival).id
        path = actions.hand_out_reset(self.tx, rival.business.id, of, rival.owner)
        rival.resets.append(path.rpartition("/")[2])

    def business_resets(self, rival: Rival, number: int) -> None:
        token = rival.resets[-1 - number % len(rival.resets)] if rival.resets else ""
        self.enter(rival, actions.reset_password(self.tx, token, self.hash_of(rival.business.name)))

    def mei_resets(self, _: Rival, number: int) -> None:
        """By a link to her address, which only she reads."""
        members = self.members()
        if not members:
            raise Refused(errors.NOT_FOUND)
        member = members[number % len(members)]
        path = actions.reset_path(self.tx, member, rules.RESET_FOR)
        actions.reset_password(self.tx, path.rpartition("/")[2], self.hash_of(MEI))

    def operator_resets(self, rival: Rival, _: int) -> None:
        path = actions.reset_path(self.tx, self.member_at(rival), rules.HANDED_FOR)
        actions.reset_password(self.tx, path.rpartition("/")[2], self.hash_of(MEI))

    def operator_adds(self, rival: Rival, _: int) -> None:
        user = store.find_user_by_email(self.tx, self.email)
        if user is None:
            new = NewMember(self.email, "Mei", Role.AGENT)
            accounts.add_member(self.tx, rival.business.id, new, self.hash_of(MEI))
        else:
            accounts.join_business(self.tx, rival.business.id, user, "Mei", Role.AGENT)

    def change_password(self, rival: Rival, number: int) -> None:
        """Whoever knows the password changes it to another one of theirs."""
        word = MEI if number % 2 else rival.business.name
        for member in self.members():
            if member.password_hash.startswith(word):
                accounts.change_password(self.tx, member, self.hash_of(word))

    def change_email(self, rival: Rival, _: int) -> None:
        member = self.member_at(rival)
        store.record_access_changed(self.tx, member.user_id, email=f"new{next(NUMBERS)}@example.com")

    def enter(self, rival: Rival, member: Member) -> None:
        """Sign in with the business's own password, and keep the session for later."""
        rival.sessions.append(accounts.open_session(self.tx, member, 14))

    def check(self) -> None:
        """A business enters no account with a place elsewhere: by its password, its sessions or its links."""
        for rival in self.rivals:
            entered = {member.user_id for member in self.members() if opens(member, rival)}
            for token in rival.sessions:
                by_session = store.find_session_member(self.tx, hash_secret(token))
                entered |= {by_session[0].user_id} if by_session else set()
            for token in rival.resets:
                try:
                    entered.add(actions.open_reset(self.tx, token)[0].user_id)
                except Refused:
                    continue
            for user_id in entered:
                assert store.count_memberships(self.tx, user_id) == 1
                places = store.list_workplaces(self.tx, user_id)
                assert {place.business_id for place in places} <= {rival.business.id}


def opens(member: Member, rival: Rival) -> bool:
    return member.password_hash.startswith(rival.business.name + " ")


@pytest.mark.parametrize("sends_mail", [True, False], ids=["with mail", "without mail"])
def test_no_order_of_events_lets_a_business_into_an_account_with_another_place(
    database: Database, sends_mail: bool
) -> None:
    @settings(max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow])
    @given(steps=STEPS)
    @example(steps=JOINS_ELSEWHERE)
    @example(steps=COMES_BACK)
    @example(steps=JOINS_LATER)
    def play(steps: Steps) -> None:
        def all_steps(tx: Tx) -> None:
            game = Play(tx, sends_mail=sends_mail)
            for step in steps:
                try:
                    with tx.connection.begin_nested():
                        game.do(*step)
                except Refused:
                    continue
                game.check()

        database.write_now(all_steps)

    play()
