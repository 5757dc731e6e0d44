"""What a killed server leaves in its spool: sealed, taken once, and worth nothing in another place."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from contatto.app import open_context
from contatto.inbox.actions.incoming import settle_receipts
from contatto.inbox.store.messages import messages
from contatto.inbox.store.receipts import receipts
from contatto.kit.db.sqlite import ENDING
from contatto.kit.db.tx import Tx, sealed_place
from contatto.kit.settings import Settings
from contatto.ui.requests import Context
from contatto.wiring import install
from tests.journeys.running import message, running_house

TEXTS = ("Call me on +65 8123 4567", "Write to mei@example.com")


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of a server that was killed while another process wrote, and its spool."""
    folder = tmp_path / "killed"
    with running_house(tmp_path / "first", worker="separate") as house:
        data = house.context.settings.data_dir
        with closing(sqlite3.connect(data / "contatto.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number, text in enumerate(TEXTS):
                said = message(text, f"u{number}", 1_795_000_000_000, f"m{number}")
                assert house.webhook("im_receive_msg", said).status_code == 200
            shutil.copytree(data, folder, ignore=shutil.ignore_patterns("*-shm"))
            other.execute("ROLLBACK")
    return folder, folder / f"contatto.sqlite3{ENDING}"


@contextmanager
def started(folder: Path) -> Iterator[Context]:
    """The installation, started again, after its worker has settled what it can."""
    context = open_context(install(Settings(data_dir=folder)))
    try:
        while context.db.write_now(settle_receipts):
            pass
        yield context
    finally:
        context.db.close()


def stored_texts(context: Context) -> list[str]:
    def read(tx: Tx) -> list[str]:
        rows = tx.execute(select(messages).order_by(messages.c.seq)).mappings()
        return [tx.vault.open(row["body"], *sealed_place(messages.c.body, row)) for row in rows]

    return context.db.read_now(read)


def copies(context: Context) -> list[int]:
    counted = select(receipts.c.copies).order_by(receipts.c.id)
    return context.db.read_now(lambda tx: list(tx.execute(counted).scalars()))


def test_a_spool_that_is_put_back_brings_nothing_twice(killed: tuple[Path, Path], tmp_path: Path) -> None:
    folder, spool = killed
    caught = tmp_path / "caught"
    caught.mkdir()
    left = [path for path in folder.iterdir() if ENDING in path.name]
    for path in left:
        shutil.copy(path, caught)
    with started(folder) as context:
        assert stored_texts(context) == list(TEXTS)
        assert copies(context) == [1, 1]
    assert spool.exists()
    for path in folder.iterdir():
        if ENDING in path.name:
            path.unlink()
    for path in caught.iterdir():
        shutil.copy(path, folder)
    with started(folder) as context:
        assert stored_texts(context) == list(TEXTS)
        assert copies(context) == [2, 2], "the ledger says that they came again"


def test_a_body_that_is_moved_to_another_row_of_the_spool_is_not_read(
    killed: tuple[Path, Path],
) -> None:
    folder, spool = killed
    with closing(sqlite3.connect(spool, isolation_level=None)) as file:
        rows = file.execute("SELECT id, rows FROM spooled ORDER BY id").fetchall()
        decoded: list[Any] = [msgspec.msgpack.decode(raw) for _, raw in rows]
        values = [row for groups in decoded for _, kept in groups for row in kept]
        assert len(values) == len(TEXTS)
        (at,) = (place for place, value in enumerate(values[0]) if isinstance(value, bytes))
        values[0][at], values[1][at] = values[1][at], values[0][at]
        for (row_id, _), groups in zip(rows, decoded, strict=True):
            file.execute("UPDATE spooled SET rows = ? WHERE id = ?", (msgspec.msgpack.encode(groups), row_id))
    with started(folder) as context:
        assert stored_texts(context) == []
        assert copies(context) == [1, 1], "they wait, and count as failures"
