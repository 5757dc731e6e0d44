"""Customers on each channel account, and the names that are known of them, sealed."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from sqlalchemy import (
    Column,
    Index,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    Update,
    bindparam,
    case,
    or_,
    select,
    update,
)

from contatto.inbox.model import Person
from contatto.kit.db.hot import Seek, insert_new, update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant, instant, key, metadata, row_of, sealed, tenant, text
from contatto.kit.db.within import within
from contatto.leads.rules.records import name_key

persons = Table(
    "persons",
    metadata,
    key(),
    tenant(),
    Column("channel_account_id", String(36), nullable=False),
    Column("external_id", String(128), nullable=False),
    sealed("name", nullable=True),
    text("name_key", default=""),
    sealed("stated_name", nullable=True),
    sealed("address", nullable=True),
    instant("blocked_at", nullable=True),
    instant("stated_at", nullable=True),
    instant("created_at"),
    UniqueConstraint("business_id", "channel_account_id", "external_id"),
    Index("ix_persons_by_name", "business_id", "name_key", "id"),
)


_UNNAMED: Final = persons.c.name.is_(None)
_FIRST: Final = bindparam("first", type_=Instant())
_LATER: Final = persons.c.created_at > _FIRST
_SEEN: Final = (
    update(persons)
    .where(persons.c.business_id == bindparam("of_business"), persons.c.id == bindparam("of_id"))
    .where(or_(_UNNAMED, _LATER))
    .values(
        name=case((_UNNAMED, bindparam("profile_name", type_=LargeBinary())), else_=persons.c.name),
        name_key=case((_UNNAMED, bindparam("profile_key", type_=String())), else_=persons.c.name_key),
        created_at=case((_LATER, _FIRST), else_=persons.c.created_at),
    )
)
_SAID_AT: Final = bindparam("said_at", type_=Instant())
_STATED: Final = (
    update(persons)
    .where(persons.c.business_id == bindparam("of_business"), persons.c.id == bindparam("of_id"))
    .where(or_(persons.c.stated_at.is_(None), persons.c.stated_at <= _SAID_AT))
    .values(stated_name=bindparam("said", type_=LargeBinary()), stated_at=_SAID_AT)
)


def save_persons(tx: Tx, found: Sequence[Person]) -> None:
    """Insert persons; those who are there get a name if they had none, and may have come earlier."""
    rows = [
        row_of(person)
        | {"name": _seal_name(tx, person), "name_key": name_key(person.name)}
        | {"stated_name": _seal_stated_name(tx, person)}
        for person in found
    ]
    if insert_new(tx, persons, rows) < len(rows):
        record_persons_seen(tx, found)


def _seal_name(tx: Tx, person: Person) -> bytes | None:
    return tx.seal(person.name, person.business_id, "persons.name", person.id)


def _seal_stated_name(tx: Tx, person: Person) -> bytes | None:
    return tx.seal(person.stated_name, person.business_id, "persons.stated_name", person.id)


def record_persons_seen(tx: Tx, found: Iterable[Person]) -> None:
    """Persons who are there get a name if they had none, and may have come earlier."""
    rows = [
        {
            "of_business": person.business_id,
            "of_id": person.id,
            "profile_name": _seal_name(tx, person),
            "profile_key": name_key(person.name),
            "first": person.created_at,
        }
        for person in found
    ]
    update_rows(tx, _SEEN, rows)


def record_blocked(tx: Tx, business_id: str, person_id: str, *, is_blocked: bool) -> None:
    blocked_at = tx.now if is_blocked else None
    tx.execute(_change_of_person(business_id, person_id).values(blocked_at=blocked_at))


def is_blocked(tx: Tx, business_id: str, person_id: str) -> bool:
    mine = select(persons.c.id).where(persons.c.business_id == business_id, persons.c.id == person_id)
    return tx.scalar(mine.where(persons.c.blocked_at.is_not(None))) is not None


def record_address(tx: Tx, business_id: str, person_id: str, address: str) -> None:
    """Keep what a platform needs to reach a person where that is a contact detail itself, sealed."""
    unknown = _change_of_person(business_id, person_id).where(persons.c.address.is_(None))
    sealed_address = tx.vault.seal(address, business_id, "persons.address", person_id)
    tx.execute(unknown.values(address=sealed_address))


def find_address(tx: Tx, business_id: str, person_id: str) -> str | None:
    mine = select(persons.c.address).where(persons.c.business_id == business_id, persons.c.id == person_id)
    address = tx.scalar(mine)
    place = business_id, "persons.address", person_id
    return None if address is None else tx.vault.open(address, *place)


def record_stated_names(tx: Tx, stated: Iterable[Person]) -> None:
    """Keep the names that persons stated, in this order, unless a later message stated another."""
    rows = [
        {
            "of_business": person.business_id,
            "of_id": person.id,
            "said": _seal_stated_name(tx, person),
            "said_at": person.stated_at,
        }
        for person in stated
    ]
    update_rows(tx, _STATED, rows)


def _change_of_person(business_id: str, person_id: str) -> Update:
    return update(persons).where(persons.c.business_id == business_id, persons.c.id == person_id)


def load_person(tx: Tx, business_id: str, person_id: str) -> Person:
    """The person of a conversation, who is always there."""
    mine = persons.c.business_id == business_id
    return tx.list(Person, select(persons).where(mine, persons.c.id == person_id))[0]


_OF_MANY: Final = Seek(
    Person, select(persons).where(within(persons.c.business_id, "businesses"), within(persons.c.id, "ids"))
)


def list_persons_of_many(tx: Tx, business_ids: Collection[str], person_ids: Collection[str]) -> list[Person]:
    """Persons of several businesses, for the worker."""
    return _OF_MANY.list(tx, {"businesses": business_ids, "ids": person_ids})


def list_persons(tx: Tx, business_id: str, person_ids: set[str]) -> dict[str, Person]:
    mine = select(persons).where(persons.c.business_id == business_id, persons.c.id.in_(person_ids))
    return {person.id: person for person in tx.list(Person, mine)}
