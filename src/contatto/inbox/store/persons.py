"""Customers on each channel account, and the names that are known of them, sealed."""

from datetime import datetime
from typing import Final

from sqlalchemy import (
    Column,
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
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant, instant, key, metadata, sealed, tenant, text
from contatto.kit.rows import row_of
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


def save_person(tx: Tx, person: Person) -> None:
    """Insert a person; one who is there gets a name if there was none, and may have come earlier."""
    row = row_of(person)
    row |= {"name": tx.seal(person.name, person.business_id), "name_key": name_key(person.name)}
    row["stated_name"] = tx.seal(person.stated_name, person.business_id)
    if not tx.insert_ignore(persons, row):
        record_person_seen(tx, person)


def record_person_seen(tx: Tx, person: Person) -> None:
    """A person who is there gets a name if there was none, and may have come earlier."""
    one = {"of_business": person.business_id, "of_id": person.id}
    named = {"profile_name": tx.seal(person.name, person.business_id), "profile_key": name_key(person.name)}
    tx.execute(_SEEN, one | named | {"first": person.created_at})


def record_blocked(tx: Tx, business_id: str, person_id: str, *, is_blocked: bool) -> None:
    blocked_at = tx.now if is_blocked else None
    tx.execute(_change_of_person(business_id, person_id).values(blocked_at=blocked_at))


def is_blocked(tx: Tx, business_id: str, person_id: str) -> bool:
    mine = select(persons.c.id).where(persons.c.business_id == business_id, persons.c.id == person_id)
    return tx.scalar(mine.where(persons.c.blocked_at.is_not(None))) is not None


def record_address(tx: Tx, business_id: str, person_id: str, address: str) -> None:
    """Keep what a platform needs to reach a person where that is a contact detail itself, sealed."""
    unknown = _change_of_person(business_id, person_id).where(persons.c.address.is_(None))
    tx.execute(unknown.values(address=tx.vault.seal(address, business_id)))


def find_address(tx: Tx, business_id: str, person_id: str) -> str | None:
    mine = select(persons.c.address).where(persons.c.business_id == business_id, persons.c.id == person_id)
    address = tx.scalar(mine)
    return None if address is None else tx.vault.open(address, business_id)


def record_stated_name(tx: Tx, person: Person, name: str, at: datetime) -> None:
    """Keep the name that a person stated, unless a later message stated another."""
    known = persons.c.stated_at
    mine = _change_of_person(person.business_id, person.id).where(or_(known.is_(None), known <= at))
    tx.execute(mine.values(stated_name=tx.seal(name, person.business_id), stated_at=at))


def _change_of_person(business_id: str, person_id: str) -> Update:
    return update(persons).where(persons.c.business_id == business_id, persons.c.id == person_id)


def load_person(tx: Tx, business_id: str, person_id: str) -> Person:
    """The person of a conversation, who is always there."""
    mine = persons.c.business_id == business_id
    return tx.list(Person, select(persons).where(mine, persons.c.id == person_id))[0]


def list_persons(tx: Tx, business_id: str, person_ids: set[str]) -> dict[str, Person]:
    mine = select(persons).where(persons.c.business_id == business_id, persons.c.id.in_(person_ids))
    return {person.id: person for person in tx.list(Person, mine)}
