"""Members, sessions, tokens and ad accounts, on both databases."""

from datetime import timedelta

import pytest

from contatto.accounts import actions, store
from contatto.accounts.actions import NewAdAccount
from contatto.accounts.model import BusinessId, Member, Role
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret
from contatto.people.actions import count_login, start_session
from tests import make, passwords
from tests.unchanged import all_rows

PASSWORD = "a long enough password"


@pytest.fixture
def owner(database: Database) -> Member:
    return database.write_now(lambda tx: make.member(tx, make.business(tx).id))


def signed_in(db: Database, token: str) -> str | None:
    found = db.read_now(lambda tx: store.find_session_member(tx, hash_secret(token)))
    return found and found[0].id


def open_session(tx: Tx, owner: Member) -> str:
    """Come in as the log-in page lets one in."""
    attempt = count_login(tx, owner.email, "10.0.0.1", "")
    return start_session(tx, attempt, attempt.candidates[0], 14, "device_1")[1]


def test_a_password_fits_only_its_own_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "_hasher", passwords.SLOW)
    monkeypatch.setattr(actions, "_DUMMY_HASH", passwords.NOBODY)
    hashed = actions.hash_password(PASSWORD)
    assert hashed.startswith("$argon2id$")
    assert hashed != actions.hash_password(PASSWORD)
    member = Member("m", "b", "u", "e", "n", Role.OWNER, hashed, make.NOON)  # type: ignore[arg-type]
    assert actions.password_fits(member, PASSWORD)
    assert not actions.password_fits(member, PASSWORD + "x")
    assert not actions.password_fits(None, PASSWORD)


def test_the_hash_that_stands_for_nobody_takes_as_long_as_a_member_s() -> None:
    assert not passwords.SLOW.check_needs_rehash(passwords.NOBODY)


def test_two_members_cannot_have_one_address_in_any_business(database: Database, owner: Member) -> None:
    with pytest.raises(Refused, match="exists already"):
        database.write_now(lambda tx: make.member(tx, make.business(tx).id, " OWNER@example.com"))


def test_a_session_is_found_by_its_token_until_it_expires(
    database: Database, owner: Member, clock: FixedClock
) -> None:
    token = database.write_now(lambda tx: open_session(tx, owner))
    assert signed_in(database, token) == owner.id
    assert signed_in(database, token + "x") is None
    clock.advance(days=14, microseconds=-1)
    assert signed_in(database, token) == owner.id
    clock.advance(microseconds=1)
    assert signed_in(database, token) is None
    assert database.write_now(actions.purge_sessions) == 1


def test_a_session_ends_at_once(database: Database, owner: Member) -> None:
    first, second = (database.write_now(lambda tx: open_session(tx, owner)) for _ in range(2))
    database.write_now(lambda tx: actions.end_session(tx, first))
    assert signed_in(database, first) is None
    assert signed_in(database, second) == owner.id


def test_no_secret_and_no_address_of_a_failure_is_kept_as_it_is(database: Database, owner: Member) -> None:
    session = database.write_now(lambda tx: open_session(tx, owner))
    _, token = database.write_now(lambda tx: actions.issue_token(tx, owner.business_id, "n", ["leads.read"]))
    database.write_now(lambda tx: count_login(tx, "guess@example.com", "10.9.8.7", ""))
    kept = str(all_rows(database))
    assert owner.email in kept
    for secret in (session, token, "guess@example.com", "10.9.8.7"):
        assert secret not in kept


def test_a_token_is_shown_once_and_found_by_its_hash(database: Database, owner: Member) -> None:
    kept, token = database.write_now(
        lambda tx: actions.issue_token(tx, owner.business_id, " CRM ", ["leads.read"])
    )
    assert token.startswith("contatto_")
    found = database.read_now(lambda tx: store.find_token(tx, hash_secret(token)))
    assert found is not None
    assert (found[0], found[0].name, found[1].id) == (kept, "CRM", owner.business_id)
    assert token not in repr(database.read_now(lambda tx: store.list_tokens(tx, owner.business_id)))


def test_a_token_is_revoked_at_once_and_only_by_its_own_business(database: Database, owner: Member) -> None:
    kept, token = database.write_now(
        lambda tx: actions.issue_token(tx, owner.business_id, "n", ["leads.read"])
    )
    for business_id, token_id in (("another", kept.id), (owner.business_id, "another")):
        with pytest.raises(Refused) as refused:
            database.write_now(
                lambda tx, b=business_id, t=token_id: actions.revoke_token(tx, b, t)  # type: ignore[misc]
            )
        assert refused.value.code is errors.NOT_FOUND
    assert database.read_now(lambda tx: store.find_token(tx, hash_secret(token))) is not None
    database.write_now(lambda tx: actions.revoke_token(tx, owner.business_id, kept.id))
    assert database.read_now(lambda tx: store.find_token(tx, hash_secret(token))) is None
    with pytest.raises(Refused):
        database.write_now(lambda tx: actions.revoke_token(tx, owner.business_id, kept.id))


def test_scopes_are_put_in_one_order_and_each_once(database: Database, owner: Member) -> None:
    scopes = ["leads.read", "inbox.read", "leads.read"]
    kept, _ = database.write_now(lambda tx: actions.issue_token(tx, owner.business_id, "n", scopes))
    assert kept.scopes == ("inbox.read", "leads.read")


@pytest.mark.parametrize("scopes", [[], ["everything"], ["leads.read", ""]])
def test_unknown_scopes_and_none_at_all_are_refused(
    database: Database, owner: Member, scopes: list[str]
) -> None:
    with pytest.raises(Refused, match="scopes"):
        database.write_now(lambda tx: actions.issue_token(tx, owner.business_id, "n", scopes))


def test_the_use_of_a_token_is_noted_once_in_a_while(
    database: Database, owner: Member, clock: FixedClock
) -> None:
    _, token = database.write_now(lambda tx: actions.issue_token(tx, owner.business_id, "n", ["leads.read"]))

    def use() -> object:
        limit = clock.now() - timedelta(minutes=5)
        database.write_now(lambda tx: store.mark_used(tx, store.api_tokens, hash_secret(token), limit))
        return database.read_now(lambda tx: store.list_tokens(tx, owner.business_id))[0].last_used_at

    first = use()
    clock.advance(minutes=5)
    assert use() == first == make.NOON
    clock.advance(seconds=1)
    assert use() == clock.now()


NEW = NewAdAccount("Main", "sg", "sgd", "Asia/Singapore")


def test_an_ad_account_gets_a_number_of_its_own(database: Database, owner: Member) -> None:
    made = database.write_now(lambda tx: actions.add_ad_account(tx, owner.business_id, NEW))
    assert (made.country, made.currency, len(str(made.number))) == ("SG", "SGD", 19)
    find = store.find_ad_account
    assert database.read_now(lambda tx: find(tx, owner.business_id, number=made.number)) == made
    another = BusinessId("another")
    assert database.read_now(lambda tx: find(tx, another, number=made.number)) is None


@pytest.mark.parametrize(
    "changes",
    [{"country": "SGP"}, {"country": "S1"}, {"country": "ÄÖ"}, {"country": "ZZ"}, {"currency": "S"},
     {"currency": "ßßß"}, {"currency": "XYZ"}, {"timezone": "SGT+8"}, {"timezone": "UTC"},
     {"timezone": "Asia/Tokyo"}, {"name": "  "}],
)  # fmt: skip
def test_an_ad_account_with_a_malformed_value_is_refused(
    database: Database, owner: Member, changes: dict[str, str]
) -> None:
    values = {name: getattr(NEW, name) for name in NewAdAccount.__dataclass_fields__} | changes
    with pytest.raises(Refused, match=next(iter(changes))):
        database.write_now(lambda tx: actions.add_ad_account(tx, owner.business_id, NewAdAccount(**values)))


def test_an_older_value_that_is_no_longer_offered_stays_when_the_rest_is_corrected(
    database: Database, owner: Member
) -> None:
    of = owner.business_id

    def correct(tx: Tx) -> None:
        made = actions.add_ad_account(tx, of, NEW)
        tx.change(store.ad_accounts, of, made.id, currency="DEM", timezone="UTC")
        older = store.find_ad_account(tx, of, id=made.id)
        assert older is not None
        actions.correct_ad_account(tx, older, NewAdAccount("Renamed", "SG", "DEM", "UTC"))
        with pytest.raises(Refused, match="timezone"):
            actions.correct_ad_account(tx, older, NewAdAccount("Renamed", "SG", "DEM", "Asia/Tokyo"))

    database.write_now(correct)


def test_a_business_has_each_name_of_an_ad_account_once(database: Database, owner: Member) -> None:
    database.write_now(lambda tx: actions.add_ad_account(tx, owner.business_id, NEW))
    with pytest.raises(Refused, match="name"):
        database.write_now(lambda tx: actions.add_ad_account(tx, owner.business_id, NEW))
    database.write_now(lambda tx: actions.add_ad_account(tx, make.business(tx).id, NEW))
