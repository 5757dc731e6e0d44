"""Statements of hot paths write and read what SQLAlchemy would, and repeat nothing."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    case,
    select,
    update,
)

from contatto.kit.db.database import Database
from contatto.kit.db.statements import PreparedQuery, Query, write_rows
from contatto.kit.db.tx import Choice, Tx, insert_for, row_of, within
from contatto.kit.values import SealedIn
from contatto.measurement.model import TouchKind
from contatto.measurement.store import append_touches, touches
from tests import make

NOTES = Table(
    "hot_notes",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Choice(TouchKind), nullable=False),
    Column("said", String(20)),
    Column("made", String(20), default=lambda: "by itself"),
)


SECRETS = Table(
    "hot_secrets",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("business_id", String(20), nullable=False),
    Column("said", LargeBinary),
    Column("mark", LargeBinary, nullable=False),
)


@dataclass(frozen=True)
class Secret:
    id: int
    business_id: str
    said: Annotated[str, SealedIn("hot_secrets.said")]


def seal_said(tx: Tx, text: str, business_id: str, number: int) -> bytes | None:
    return tx.seal(text, business_id, "hot_secrets.said", str(number))


MARKED = PreparedQuery(Secret, select(SECRETS).where(within(SECRETS.c.mark, "marks")).order_by(SECRETS.c.id))
MARKS = Query(select(SECRETS.c.id, SECRETS.c.mark).where(within(SECRETS.c.id, "ids")).order_by(SECRETS.c.id))


@dataclass(frozen=True)
class Note:
    id: int
    said: str | None
    kind: TouchKind


OF_KIND = PreparedQuery(
    Note, select(NOTES).where(NOTES.c.kind == bindparam("of")).order_by(NOTES.c.id.desc()).limit(2)
)


def note(number: int, kind: TouchKind = TouchKind.VIEW, said: str | None = "x") -> dict[str, Any]:
    return {"id": number, "kind": kind, "said": said, "made": "here"}


def filled(tx: Tx, *batches: list[dict[str, Any]]) -> None:
    NOTES.create(tx.connection)
    insert = insert_for(tx.connection.dialect.name, NOTES).on_conflict_do_nothing()
    for rows in batches:
        write_rows(tx, insert, rows)


def test_what_was_there_before_is_ignored_and_types_are_kept(database: Database) -> None:
    def work(tx: Tx) -> tuple[list[Note], list[Note]]:
        filled(
            tx, [note(1), note(2, said=None), note(3, TouchKind.CLICK)], [note(1, said="y"), note(4), note(4)]
        )
        clicks = OF_KIND.list(tx, {"of": TouchKind.CLICK})
        return OF_KIND.list(tx, {"of": TouchKind.VIEW}), clicks

    views, clicks = database.write_now(work)
    assert views == [Note(4, "x", TouchKind.VIEW), Note(2, None, TouchKind.VIEW)]
    assert clicks == [Note(3, "x", TouchKind.CLICK)]
    assert type(clicks[0].kind) is TouchKind


SAY: Final = (
    update(NOTES)
    .where(NOTES.c.id == bindparam("number"), NOTES.c.kind != bindparam("but"))
    .values(said=case((NOTES.c.kind == TouchKind.VIEW, NOTES.c.said + bindparam("more")), else_="a click"))
)
COUNT: Final = {
    name: insert_for(name, NOTES).on_conflict_do_update(
        index_elements=["id"], set_={"said": NOTES.c.said + insert_for(name, NOTES).excluded.said}
    )
    for name in ("sqlite", "postgresql")
}


def test_updates_of_many_rows_follow_each_other_where_they_are_about_the_same_row(database: Database) -> None:
    def say(number: int, more: str, but: TouchKind = TouchKind.CLICK) -> dict[str, Any]:
        return {"number": number, "more": more, "but": but}

    def work(tx: Tx) -> list[str]:
        filled(tx, [note(1), note(2), note(3, TouchKind.CLICK), note(4)])
        write_rows(
            tx,
            SAY,
            [say(1, "a"), say(2, "b"), say(3, "c", TouchKind.VIEW), say(1, "d"), say(1, "e"), say(9, "f")],
        )
        write_rows(tx, SAY, [say(4, "g", TouchKind.VIEW), say(2, "h", TouchKind.CLICK)])
        return list(tx.execute(select(NOTES.c.said).order_by(NOTES.c.id)).scalars())

    assert database.write_now(work) == ["xade", "xbh", "a click", "x"]


def test_rows_that_are_there_are_changed_once_for_each_time_that_they_come_again(database: Database) -> None:
    def work(tx: Tx) -> list[str]:
        filled(tx, [note(1)])
        again = COUNT[tx.connection.dialect.name]
        write_rows(tx, again, [note(1, said="a"), note(2, said="b"), note(1, said="c"), note(2, said="d")])
        return list(tx.execute(select(NOTES.c.said).order_by(NOTES.c.id)).scalars())

    assert database.write_now(work) == ["xac", "bd"]


def test_a_value_that_the_column_makes_itself_is_not_lost(database: Database) -> None:
    def work(tx: Tx) -> list[Any]:
        rows = [note(number) for number in (1, 2)]
        filled(tx, [{name: row[name] for name in ("id", "kind", "said")} for row in rows])
        return list(tx.execute(select(NOTES.c.made)).scalars())

    assert database.write_now(work) == ["by itself", "by itself"]


def test_a_batch_with_a_bad_row_keeps_nothing(database: Database) -> None:
    ad = make.ad("owner")
    rows = [row_of(make.touch(ad)) for _ in range(3)]
    rows[2] = rows[2] | {"ts": None}

    def count(tx: Tx) -> int:
        return len(list(tx.execute(select(touches.c.touch_id))))

    with pytest.raises(Exception, match=r"(?i)null"):
        database.write_now(lambda tx: append_touches(tx, rows))
    assert database.read_now(count) == 0
    for _ in range(2):
        database.write_now(lambda tx: append_touches(tx, rows[:2]))
    assert database.read_now(count) == 2


def test_sealed_texts_come_opened_and_bytes_are_looked_for_as_texts_are(database: Database) -> None:
    def work(tx: Tx) -> tuple[list[Secret], list[tuple[Any, ...]]]:
        SECRETS.create(tx.connection)
        said = [seal_said(tx, "one", "b1", 0), None, seal_said(tx, "three", "b2", 2)]
        rows = [
            {"id": number, "business_id": of, "said": text, "mark": bytes([0, 255, number])}
            for number, (of, text) in enumerate(zip(("b1", "b1", "b2"), said, strict=True))
        ]
        write_rows(tx, insert_for(tx.connection.dialect.name, SECRETS), rows)
        marks = [bytes([0, 255, number]) for number in (0, 1, 7)]
        numbers = [(number, bytes(mark)) for number, mark in MARKS.rows(tx, {"ids": [2, 1]})]
        return MARKED.list(tx, {"marks": marks}), numbers

    opened, numbers = database.write_now(work)
    assert opened == [Secret(0, "b1", "one"), Secret(1, "b1", "")]
    assert numbers == [(1, b"\0\xff\1"), (2, b"\0\xff\2")]


def test_a_row_of_a_value_has_its_texts_sealed_and_an_empty_one_is_none(database: Database) -> None:
    def work(tx: Tx) -> None:
        SECRETS.create(tx.connection)
        written = [Secret(1, "b", "hello"), Secret(2, "b", "")]
        rows = [tx.sealed_row(secret) | {"mark": b"m"} for secret in written]
        assert b"hello" not in rows[0]["said"]
        assert rows[1]["said"] is None
        for row in rows:
            tx.insert(SECRETS, row)
        assert MARKED.list(tx, {"marks": [b"m"]}) == written

    database.write_now(work)


def test_what_is_listed_again_is_the_same_list_until_a_row_changes(database: Database) -> None:
    """Also on PostgreSQL, where rows are read before they are compared."""
    marks = {"marks": [b"a", b"b"]}

    def work(tx: Tx) -> None:
        SECRETS.create(tx.connection)
        for number, mark in ((1, b"a"), (2, b"b"), (3, b"c")):
            said = seal_said(tx, "tea", "us", number)
            tx.insert(SECRETS, {"id": number, "business_id": "us", "said": said, "mark": mark})
        first = MARKED.list_again(tx, marks)
        assert first.all == [Secret(1, "us", "tea"), Secret(2, "us", "tea")]
        tx.execute(update(SECRETS).where(SECRETS.c.id == 3).values(said=None))
        assert MARKED.list_again(tx, marks, first) is first
        tx.execute(update(SECRETS).where(SECRETS.c.id == 2).values(said=None))
        second = MARKED.list_again(tx, marks, first)
        assert second is not first
        assert second.all == [Secret(1, "us", "tea"), Secret(2, "us", "")]
        assert MARKED.list_again(tx, {"marks": [b"a"]}, second).all == second.all[:1]

    database.write_now(work)
