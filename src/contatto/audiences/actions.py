"""Uploading files of hashed values and making audiences of them, of lists, and of other audiences."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contatto.accounts.model import AdAccount
from contatto.audiences import rules, store
from contatto.audiences.model import (
    Audience,
    AudienceFile,
    AudienceKind,
    FileAction,
    Fingerprint,
    ListKind,
    Lookalike,
    LookalikeSize,
)
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number, new_secret
from contatto.kit.vault import Vault
from contatto.leads.model.erasing import Gone


@dataclass(frozen=True, slots=True)
class NewAudience:
    """An audience to make; ``spec`` is JSON, empty for one that is made of files."""

    name: str
    kind: AudienceKind = AudienceKind.CUSTOMER_FILE
    calculate_type: str = ""
    spec: str = ""


def blind_digests(vault: Vault, business_id: str, digests: Iterable[str]) -> list[Fingerprint]:
    """What is kept of hashed values, and what those that are asked for are compared with, each once."""
    blinded = (vault.blind(f"audience:{digest}", business_id) for digest in digests)
    return list(dict.fromkeys(blinded))


def upload_file(tx: Tx, account: AdAccount, calculate_type: str, digests: Sequence[str]) -> AudienceFile:
    """Keep the fingerprints of a file of hashed values until an audience is made of it."""
    file = AudienceFile(
        path=new_secret("audience"),
        business_id=account.business_id,
        ad_account_id=account.id,
        calculate_type=calculate_type,
        prints=b"".join(blind_digests(tx.vault, account.business_id, digests)),
        created_at=tx.now,
    )
    store.save_file(tx, file)
    return file


def create_audience(tx: Tx, account: AdAccount, new: NewAudience, paths: Sequence[str] = ()) -> Audience:
    """Make an audience, with the values of its files if it has any.

    Raises:
        Refused: INVALID, FILE_UNKNOWN, FILE_EXPIRED.
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
    )
    store.save_audience(tx, audience)
    store.save_members(tx, audience, _prints(tx, audience, paths))
    return audience


def create_customer_list(
    tx: Tx, account: AdAccount, name: str, kind: ListKind, digests: Sequence[str]
) -> Audience:
    """Make an audience of digests that were read from a list.

    Raises:
        Refused: INVALID.
    """
    audience = create_audience(tx, account, NewAudience(name, calculate_type=kind.value))
    store.save_members(tx, audience, blind_digests(tx.vault, account.business_id, digests))
    return audience


def create_lookalike_of(
    tx: Tx, account: AdAccount, name: str, source: Audience, size: LookalikeSize
) -> Audience:
    """Make an audience of people like those of another one, everywhere and on every device.

    Raises:
        Refused: INVALID, also for a lookalike of a lookalike.
    """
    if source.kind is AudienceKind.LOOKALIKE:
        raise Refused(errors.INVALID, "source: choose an audience that is no lookalike itself.")
    spec: dict[str, Any] = {
        "source_audience_id": str(source.number),
        "audience_size": size.value,
        "mobile_os": "ALL",
        "placements": [],
        "location_ids": [],
        "include_source": False,
    }
    return create_audience(tx, account, NewAudience(name, AudienceKind.LOOKALIKE, spec=json.dumps(spec)))


def _prints(tx: Tx, audience: Audience, paths: Sequence[str]) -> list[Fingerprint]:
    found: list[Fingerprint] = []
    for path in paths:
        file = store.find_file(tx, audience.business_id, path)
        if file is None or file.ad_account_id != audience.ad_account_id:
            raise Refused(errors.FILE_UNKNOWN)
        rules.check_fresh(file.created_at, tx.now)
        if file.calculate_type != audience.calculate_type:
            raise Refused(errors.INVALID, f"file_paths: a file has {file.calculate_type} values.")
        found += rules.split_prints(file.prints)
    return list(dict.fromkeys(found))


def load_audience(tx: Tx, account: AdAccount, number: int, field: str = "custom_audience_id") -> Audience:
    """An audience by the API's ``custom_audience_id``; ``field`` is what a refusal calls it.

    Raises:
        Refused: NOT_FOUND.
    """
    found = store.list_audiences(tx, account.business_id, account.id, [number])
    if not found:
        raise Refused(errors.NOT_FOUND, "%(field)s: there is no such audience.", field=field)
    return found[0]


def update_audience(
    tx: Tx, account: AdAccount, number: int, name: str | None, files: tuple[FileAction, Sequence[str]] | None
) -> Audience:
    """Change the name of an audience, its members, or both.

    Raises:
        Refused: NOT_FOUND, INVALID, FILE_UNKNOWN, FILE_EXPIRED.
    """
    audience = load_audience(tx, account, number)
    if name is not None:
        audience = replace(audience, name=rules.check_audience_name(name))
    if files is not None:
        _change_members(tx, audience, *files)
    audience = replace(audience, updated_at=tx.now)
    store.record_audience(tx, audience)
    return audience


def _change_members(tx: Tx, audience: Audience, action: FileAction, paths: Sequence[str]) -> None:
    if audience.kind is not AudienceKind.CUSTOMER_FILE:
        raise Refused(errors.INVALID, "file_paths: this audience is not made of files.")
    prints = _prints(tx, audience, paths)
    if action is FileAction.REMOVE:
        store.delete_members(tx, audience, prints)
        return
    if action is FileAction.REPLACE:
        store.delete_members(tx, audience)
    store.save_members(tx, audience, prints)


def keep_lookalike(tx: Tx, audience: Audience, prints: Sequence[Fingerprint], told: Lookalike) -> None:
    """Put the members of a lookalike that were found in place of those before, if it is still there."""
    changed = replace(audience, updated_at=tx.now)
    if store.find_audience_by_number(tx, audience.business_id, audience.number) is None:
        return
    store.delete_members(tx, audience)
    store.save_members(tx, audience, prints)
    store.record_audience(tx, changed)
    store.save_lookalike(tx, told)


def drop_viewers(tx: Tx, business_id: str, prints: Collection[Fingerprint]) -> None:
    """Take viewers who were found out of all audiences of a business."""
    store.delete_prints(tx, business_id, prints)


def delete_audiences(tx: Tx, account: AdAccount, numbers: Sequence[int]) -> None:
    """Delete audiences with their members: all that are named, or none of them.

    Raises:
        Refused: NOT_FOUND.
    """
    for number in numbers:
        store.delete_audience(tx, load_audience(tx, account, number))


def purge_files(tx: Tx) -> int:
    """Delete files that can no longer be used; say how many."""
    return store.delete_old_files(tx, tx.now - rules.FILE_LIFE)


def forget_members(tx: Tx, gone: Gone) -> set[str]:
    """Take persons out of all audiences, by the hashes of their contact values. Nothing new is found."""
    digests = rules.digests_of(gone.contacts)
    store.delete_prints(tx, gone.business_id, blind_digests(tx.vault, gone.business_id, digests))
    return set()
