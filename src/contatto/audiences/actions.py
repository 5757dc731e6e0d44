"""Uploads of hashed values, audiences, and changes of their members.

Members change in pieces, so that a large file does not hold SQLite's writer. The request runs the pieces of
its change; the worker continues a change that its request left. Delivery sees only complete changes.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import batched
from typing import Final

import msgspec
import sqlalchemy as sa

from contatto.accounts.model import AdAccount
from contatto.audiences import rules, store
from contatto.audiences.model import (
    Audience,
    AudienceFile,
    AudienceKind,
    ChangeKind,
    Fingerprint,
    Lookalike,
    LookalikeSize,
    LookalikeSpec,
    MemberChange,
)
from contatto.audiences.rules import FILE_LIFE, PRINT_BYTES, split_prints
from contatto.audiences.store import audience_files, audience_members, lookalikes
from contatto.kit import errors
from contatto.kit.background import QueuedWork
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx, in_time, purging, row_of, rows_of
from contatto.kit.errors import Refused
from contatto.kit.fair_queue import Turns
from contatto.kit.ids import new_id, new_number, new_secret
from contatto.kit.vault import Vault
from contatto.leads.model import ErasedPeople

PIECE: Final = 500
"""Members that are changed together; a write takes as many pieces as fit into its time."""
LEASE: Final = timedelta(seconds=30)
"""Time after a piece for which the worker leaves a change to its request."""
WAIT_S: Final = 10.0
"""Longest time that a request works on its changes; the worker does the rest."""


@dataclass(frozen=True, slots=True)
class NewAudience:
    """An audience to make; ``spec`` is JSON, empty for one that is made of files."""

    name: str
    kind: AudienceKind = AudienceKind.CUSTOMER_FILE
    calculate_type: str = ""
    spec: str = ""


def blind_digests(vault: Vault, business_id: str, digests: Iterable[str]) -> list[Fingerprint]:
    """Return the fingerprints of hashed values, each once."""
    blinded = (vault.blind(f"audience:{digest}", business_id) for digest in digests)
    return list(dict.fromkeys(blinded))


def upload_file(
    tx: Tx, account: AdAccount, calculate_type: str, prints: Sequence[Fingerprint]
) -> AudienceFile:
    """Save the fingerprints of a file of hashed values, for an audience to be made of it."""
    file = AudienceFile(
        path=new_secret("audience"),
        business_id=account.business_id,
        ad_account_id=account.id,
        calculate_type=calculate_type,
        prints=b"".join(prints),
        created_at=tx.now,
    )
    tx.insert(store.audience_files, row_of(file))
    return file


def create_audience(tx: Tx, account: AdAccount, new: NewAudience, paths: Sequence[str] = ()) -> Audience:
    """Make an audience; `finish_changes` fills it with the values of its files if it has any.

    Raises INVALID, FILE_UNKNOWN, FILE_EXPIRED.
    """
    audience = Audience(
        id=new_id(),
        business_id=account.business_id,
        number=new_number(),
        ad_account_id=account.id,
        name=rules.check_audience_name(new.name),
        kind=new.kind,
        calculate_type=new.calculate_type,
        spec=new.spec,
        created_at=tx.now,
        updated_at=tx.now,
        members_id=new_id(),
    )
    tx.insert(store.audiences, row_of(audience))
    if paths:
        _begin_change(tx, audience, ChangeKind.APPEND, paths)
    return audience


def create_lookalike_of(
    tx: Tx, account: AdAccount, name: str, source: Audience, size: LookalikeSize
) -> Audience:
    """Make a lookalike: viewers who most likely become good leads, without those of the source.

    It includes all countries and devices.

    Raises INVALID, also for a lookalike of a lookalike.
    """
    if source.kind is AudienceKind.LOOKALIKE:
        raise Refused(errors.INVALID, "source: Choose an audience that is not a lookalike.")
    spec = msgspec.json.encode(LookalikeSpec(str(source.number), size)).decode()
    return create_audience(tx, account, NewAudience(name, AudienceKind.LOOKALIKE, spec=spec))


def _begin_change(
    tx: Tx, audience: Audience, kind: ChangeKind, paths: Sequence[str] = (), members_id: str = ""
) -> None:
    """Check the files of a change and save it. Raises INVALID, FILE_UNKNOWN, FILE_EXPIRED."""
    columns = [column for column in audience_files.c if column.name != "prints"]  # those are large
    own = rows_of(audience_files, audience.business_id, path=sorted(paths))
    query = sa.select(*columns, sa.literal(b"").label("prints")).where(*own)
    files = {file.path: file for file in tx.list(AudienceFile, query)} if paths else {}
    for path in paths:
        file = files.get(path)
        if file is None or file.ad_account_id != audience.ad_account_id:
            raise Refused(errors.FILE_UNKNOWN)
        if tx.now - file.created_at > FILE_LIFE:
            raise Refused(errors.FILE_EXPIRED)
        if file.calculate_type != audience.calculate_type:
            raise Refused(errors.INVALID, f"file_paths: a file has {file.calculate_type} values.")
    change_id = new_id()
    change = MemberChange(
        id=change_id,
        business_id=audience.business_id,
        audience_id=audience.id,
        members_id=change_id if kind is ChangeKind.REPLACE else members_id,
        kind=kind,
        paths=json.dumps(list(dict.fromkeys(paths))),
        file_place=0,
        start=0,
        due_at=tx.now + LEASE,
    )
    tx.insert(store.audience_changes, row_of(change))


async def finish_changes(db: Database, business_id: str, audience_ids: Iterable[str]) -> None:
    """Run the changes of audiences piece by piece; leave to the worker what takes longer than WAIT_S."""
    until = time.monotonic() + WAIT_S
    for audience_id in audience_ids:
        work = partial(continue_changes, business_id=business_id, audience_id=audience_id)
        while time.monotonic() < until and await db.write_more(work):
            pass


def continue_changes(tx: Tx, business_id: str, audience_id: str, lease: timedelta = LEASE) -> bool:
    """Run pieces of the oldest change of an audience until their time is up; report whether pieces remain.

    The worker continues them when the lease has expired.
    """
    changes = store.list_changes(tx, business_id, audience_id)
    if not changes:
        return False
    audience = store.find_audience(tx, business_id, id=audience_id)
    progress = list(in_time(_run_pieces(tx, changes[0], audience)))[-1]
    if progress is not None:
        place = {"file_place": progress.file_place, "start": progress.start, "due_at": tx.now + lease}
        tx.change(store.audience_changes, business_id, progress.id, **place)
        return True
    change = changes[0]
    tx.delete(store.audience_changes, business_id, id=change.id)
    if audience is not None and change.kind is not ChangeKind.DROP:
        # Delivery sees the members of a complete change; a new set replaces the current one.
        members_id = audience.members_id
        if change.kind is ChangeKind.REPLACE:
            _begin_change(tx, audience, ChangeKind.DROP, members_id=members_id)
            members_id = change.members_id
        tx.change(store.audiences, business_id, audience_id, members_id=members_id, updated_at=tx.now)
    return bool(store.list_changes(tx, business_id, audience_id))


def _run_pieces(tx: Tx, change: MemberChange, audience: Audience | None) -> Iterator[MemberChange | None]:
    """Yield the progress after each piece, and None at the end."""
    if change.kind is ChangeKind.DROP:
        own = rows_of(audience_members, change.business_id, audience_id=change.members_id)
        members = sa.select(audience_members.c.fingerprint).where(*own).limit(PIECE)
        while prints := list(tx.execute(members).scalars()):
            store.delete_members(tx, change.business_id, change.members_id, prints)
            yield change
    elif audience is not None:
        members_id = change.members_id or audience.members_id
        paths = json.loads(change.paths)
        while change.file_place < len(paths):
            path = paths[change.file_place]
            # a deleted file has no prints
            piece = sa.func.substr(
                audience_files.c.prints, 1 + change.start * PRINT_BYTES, PIECE * PRINT_BYTES
            )
            joined = tx.scalar(
                sa.select(piece).where(*rows_of(audience_files, change.business_id, path=path))
            )
            prints = split_prints(bytes(joined or b""))
            values = [fingerprint for fingerprint in prints if fingerprint != rules.NO_PRINT]
            if change.kind is ChangeKind.REMOVE:
                store.delete_members(tx, change.business_id, members_id, values)
            else:
                store.save_members(tx, change.business_id, members_id, values)
            if len(prints) < PIECE:
                change = replace(change, file_place=change.file_place + 1, start=0)
            else:
                change = replace(change, start=change.start + PIECE)
            yield change
    yield None


def changes_work() -> QueuedWork:
    """Build the queued work that continues changes of members that their requests left."""
    turns = Turns(store.CHANGES)

    def run_batch(tx: Tx) -> int:
        businesses = turns.list_businesses(tx, 1)
        for business_id in businesses:
            turns.last = business_id
            for change in turns.queue.list(tx, MemberChange, business_id, 1):
                continue_changes(tx, business_id, change.audience_id, timedelta(0))
        return len(businesses)

    return QueuedWork("audience_changes", turns.queue.is_due, run_batch, tables=turns.queue.tables)


def load_audience(tx: Tx, account: AdAccount, number: int, field: str = "custom_audience_id") -> Audience:
    """Load an audience by the API's ``custom_audience_id``; a refusal names ``field``."""
    matches = store.list_audiences(tx, account.business_id, account.id, [number])
    if not matches:
        raise Refused(errors.NOT_FOUND, "%(field)s: Audience not found.", field=field)
    return matches[0]


def update_audience(
    tx: Tx, account: AdAccount, number: int, name: str | None, files: tuple[ChangeKind, Sequence[str]] | None
) -> Audience:
    """Change the name of an audience, its members, or both.

    Raises NOT_FOUND, INVALID, FILE_UNKNOWN, FILE_EXPIRED.
    """
    audience = load_audience(tx, account, number)
    if name is not None:
        audience = replace(audience, name=rules.check_audience_name(name))
    if files is not None:
        kind, paths = files
        if audience.kind is not AudienceKind.CUSTOMER_FILE:
            raise Refused(
                errors.INVALID, "file_paths: This audience does not use files. Create one from a file."
            )
        _begin_change(tx, audience, kind, paths)
    tx.change(store.audiences, audience.business_id, audience.id, name=audience.name, updated_at=tx.now)
    return replace(audience, updated_at=tx.now)


def list_lookalike_writes(
    audience: Audience, prints: Sequence[Fingerprint], result: Lookalike
) -> Iterator[Callable[[Tx], None]]:
    """Yield the writes that fill a new set of members and replace the current set."""
    members_id = new_id()

    def replace_members(tx: Tx) -> None:
        current = store.find_audience(tx, audience.business_id, id=audience.id)
        if current is None:
            _begin_change(tx, audience, ChangeKind.DROP, members_id=members_id)
            return
        _begin_change(tx, current, ChangeKind.DROP, members_id=current.members_id)
        new = {"members_id": members_id, "updated_at": tx.now}
        tx.change(store.audiences, current.business_id, current.id, **new)
        tx.save(lookalikes, row_of(result))

    for piece in batched(prints, PIECE):
        yield partial(
            store.save_members, business_id=audience.business_id, members_id=members_id, prints=piece
        )
    yield replace_members


def remove_fingerprints(tx: Tx, business_id: str, prints: Collection[Fingerprint]) -> None:
    """Remove fingerprints of erased people from all audiences and uploaded files of a business.

    The other values of a file keep their places, since a change may be reading it.
    """
    members = audience_members.delete().where(audience_members.c.business_id == business_id)
    tx.execute(members.where(audience_members.c.fingerprint.in_(prints)))
    of_business = audience_files.c.business_id == business_id
    rows = tx.execute(sa.select(audience_files.c.path, audience_files.c.prints).where(of_business)).all()
    for path, joined in map(tuple, rows):
        values = split_prints(joined)
        if not set(values).isdisjoint(prints):
            remaining = b"".join(rules.NO_PRINT if value in prints else value for value in values)
            of_file = audience_files.update().where(of_business, audience_files.c.path == path)
            tx.execute(of_file.values(prints=remaining))


def delete_audiences(tx: Tx, account: AdAccount, numbers: Sequence[int]) -> None:
    """Delete audiences: all that are named, or none of them; `finish_changes` deletes their members.

    Raises NOT_FOUND.
    """
    for number in numbers:
        audience = load_audience(tx, account, number)
        sets = [audience.members_id]
        for change in store.list_changes(tx, account.business_id, audience.id):
            if change.kind is not ChangeKind.DROP:
                tx.delete(store.audience_changes, account.business_id, id=change.id)
                sets += [change.members_id] if change.members_id else []
        for members_id in sets:
            _begin_change(tx, audience, ChangeKind.DROP, members_id=members_id)
        tx.delete(lookalikes, audience.business_id, audience_id=audience.id)
        tx.delete(store.audiences, audience.business_id, id=audience.id)


purge_files: Final = purging(store.audience_files.c.created_at, rules.FILE_LIFE, most=5)  # they may be large


def forget_members(tx: Tx, erased: ErasedPeople) -> set[str]:
    """Remove erased persons from all audiences by their contact values; a port of leads.

    It returns an empty set, since audiences contain no contact values.
    """
    # a list may have a value in any of these spellings
    spellings = {form for value in erased.contacts for form in (value, value.lower(), value.lstrip("+"))}
    digests = {
        hashlib.sha256(spelling.encode("utf-8", "surrogatepass")).hexdigest() for spelling in spellings
    }
    remove_fingerprints(tx, erased.business_id, blind_digests(tx.vault, erased.business_id, digests))
    return set()
