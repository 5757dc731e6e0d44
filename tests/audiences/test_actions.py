"""Audiences from files of hashed values, on both databases."""

import asyncio
import hashlib

import pytest
from sqlalchemy import func, select

from contatto.accounts.model import AdAccount
from contatto.audiences import actions, store
from contatto.audiences.actions import NewAudience
from contatto.audiences.model import Audience, AudienceKind, ChangeKind
from contatto.audiences.rules import FILE_LIFE, read_digests
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.kit.errors import ErrorCode, Refused
from tests.ads.world import add_world


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


A, B, C = (digest(f"{name}@example.com") for name in "abc")
NEW = NewAudience("Regulars", calculate_type="EMAIL_SHA256")


@pytest.fixture
def account(database: Database) -> AdAccount:
    return database.write_now(add_world).ad_account


def upload(database: Database, account: AdAccount, *digests: str, kind: str = "EMAIL_SHA256") -> str:
    prints = actions.blind_digests(database.vault, account.business_id, digests)
    return database.write_now(lambda tx: actions.upload_file(tx, account, kind, prints)).path


def finish(database: Database, audience: Audience) -> None:
    asyncio.run(actions.finish_changes(database, audience.business_id, [audience.id]))


def made(database: Database, account: AdAccount, *digests: str) -> Audience:
    path = upload(database, account, *digests)
    audience = database.write_now(lambda tx: actions.create_audience(tx, account, NEW, [path]))
    finish(database, audience)
    return audience


def size(database: Database, audience: Audience) -> int:
    counts = database.read_now(lambda tx: store.count_members(tx, audience.business_id, {audience.id}))
    return counts.get(audience.id, 0)


def change(database: Database, account: AdAccount, audience: Audience, action: str, *digests: str) -> int:
    path = upload(database, account, *digests)
    files = (ChangeKind(action), [path])
    database.write_now(lambda tx: actions.update_audience(tx, account, audience.number, None, files))
    finish(database, audience)
    return size(database, audience)


def test_members_are_counted_once(database: Database, account: AdAccount) -> None:
    audience = made(database, account, A, B)
    assert change(database, account, audience, "APPEND", B, C) == 3
    assert change(database, account, audience, "REMOVE", A, C) == 1
    assert change(database, account, audience, "REPLACE", A, C) == 2


def test_a_deleted_audience_leaves_no_member(database: Database, account: AdAccount) -> None:
    audience = made(database, account, A, B)
    database.write_now(lambda tx: actions.delete_audiences(tx, account, [audience.number]))
    finish(database, audience)
    assert size(database, audience) == 0
    rows = select(func.count()).select_from(store.audience_members)
    assert database.read_now(lambda tx: tx.scalar(rows)) == 0
    with pytest.raises(Refused) as refused:
        database.read_now(lambda tx: actions.load_audience(tx, account, audience.number))
    assert refused.value.code is errors.NOT_FOUND


def test_a_file_can_be_used_for_a_day(database: Database, account: AdAccount, clock: FixedClock) -> None:
    path = upload(database, account, A)
    clock.advance(seconds=FILE_LIFE.total_seconds() + 1)
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: actions.create_audience(tx, account, NEW, [path]))
    assert refused.value.code is errors.FILE_EXPIRED
    assert database.write_now(actions.purge_files) == 1


def test_a_file_of_another_account_or_kind_is_refused_and_makes_nothing(
    database: Database, account: AdAccount
) -> None:
    other = database.write_now(add_world).ad_account
    for path in (
        upload(database, other, A),
        "audience_nothing",
        upload(database, account, A, kind="PHONE_SHA256"),
    ):
        with pytest.raises(Refused) as refused:
            database.write_now(lambda tx, path=path: actions.create_audience(tx, account, NEW, [path]))
        assert refused.value.code in (errors.FILE_UNKNOWN, errors.INVALID)
    assert database.read_now(lambda tx: store.list_audiences(tx, account.business_id, account.id)) == []


def test_an_audience_without_files_takes_none(database: Database, account: AdAccount) -> None:
    new = NewAudience("Likes", AudienceKind.LOOKALIKE, spec="{}")
    audience = database.write_now(lambda tx: actions.create_audience(tx, account, new))
    with pytest.raises(Refused, match="file_paths"):
        change(database, account, audience, "APPEND", A)


def test_another_business_has_no_such_audience(database: Database, account: AdAccount) -> None:
    audience = made(database, account, A)
    other = database.write_now(add_world).ad_account
    with pytest.raises(Refused) as refused:
        database.write_now(lambda tx: actions.delete_audiences(tx, other, [audience.number]))
    assert refused.value.code is errors.NOT_FOUND
    assert size(database, audience) == 1


def test_a_file_is_read_with_and_without_a_head_and_in_any_case() -> None:
    text = f'email\r\n{A.upper()}\r\n\r\n"{B}"\n{A}\n'
    assert read_digests(b"\xef\xbb\xbf" + text.encode()) == (A, B)
    assert read_digests(A.encode()) == (A,)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", errors.FILE_EMPTY),
        (b"email\n\n", errors.FILE_EMPTY),
        (b"\xff\xfe\x00", errors.FILE_TYPE),
        (b"mei@example.com\n", errors.NOT_HASHED),
        (A.encode() + b"\nmei@example.com", errors.NOT_HASHED),
        (A[:-1].encode(), errors.NOT_HASHED),
    ],
)
def test_a_file_that_is_not_hashed_or_no_text_is_refused(content: bytes, code: ErrorCode) -> None:
    with pytest.raises(Refused) as refused:
        read_digests(content)
    assert refused.value.code is code
    assert "mei" not in str(refused.value)


def test_the_worker_continues_a_change_that_its_request_left(
    database: Database, account: AdAccount, clock: FixedClock
) -> None:
    old = made(database, account, *(digest(f"old {number}") for number in range(3)))
    new = [digest(f"new {number}") for number in range(4 * actions.PIECE + 1)]
    path = upload(database, account, *new)
    files = (ChangeKind.REPLACE, [path])
    database.write_now(lambda tx: actions.update_audience(tx, account, old.number, None, files))
    work = actions.changes_work()

    def is_due() -> bool:
        return database.read_now(work.is_due)

    assert not is_due()
    clock.advance(seconds=actions.LEASE.total_seconds() + 1)
    sizes = []
    while is_due():
        database.write_now(work.run_batch)
        sizes.append(size(database, old))
    assert set(sizes) <= {3, len(new)}, "members of the old and the new list are never mixed"
    clock.advance(seconds=actions.LEASE.total_seconds() + 1)
    while is_due():
        database.write_now(work.run_batch)
    assert size(database, old) == len(new)
    rows = select(func.count()).select_from(store.audience_members)
    assert database.read_now(lambda tx: tx.scalar(rows)) == len(new)


def test_a_person_who_is_erased_comes_back_by_no_change_that_is_under_way(
    database: Database, account: AdAccount
) -> None:
    path = upload(database, account, A, B, C)
    audience = database.write_now(lambda tx: actions.create_audience(tx, account, NEW, [path]))
    erased = actions.blind_digests(database.vault, account.business_id, [B])
    database.write_now(lambda tx: actions.remove_fingerprints(tx, account.business_id, erased))
    finish(database, audience)
    assert size(database, audience) == 2


def test_deleting_an_audience_ends_the_changes_that_fill_it(database: Database, account: AdAccount) -> None:
    audience = made(database, account, A)
    path = upload(database, account, B, C)
    files = (ChangeKind.REPLACE, [path])
    database.write_now(lambda tx: actions.update_audience(tx, account, audience.number, None, files))
    database.write_now(lambda tx: actions.delete_audiences(tx, account, [audience.number]))
    finish(database, audience)
    for table in (store.audience_members, store.audience_changes):
        rows = select(func.count()).select_from(table)
        assert database.read_now(lambda tx, rows=rows: tx.scalar(rows)) == 0
