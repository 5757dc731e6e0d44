"""Webhooks that come while another process writes to SQLite's file: answered, sealed, and settled once."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select

from contatto.inbox.store.receipts import count_receipts, receipts
from contatto.kit.db.sqlite import ENDING
from tests.journeys.running import message, running_house
from tests.quoting import quotes

NUMBER = "+65 8123 4567"


def test_a_webhook_is_answered_and_lies_sealed_until_it_is_in_the_ledger(tmp_path: Path) -> None:
    with running_house(tmp_path, worker="separate") as house:
        file = house.context.settings.data_dir / "contatto.sqlite3"
        said = message(f"Call me on {NUMBER}", "u1", 1_795_000_000_000, "m1")
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert house.webhook("im_receive_msg", said).status_code == 200
            count = select(func.count()).select_from(receipts)
            assert house.context.db.read_now(lambda tx: tx.scalar(count)) == 0
            kept = b"".join(each.read_bytes() for each in file.parent.glob(f"*{ENDING}*"))
            other.execute("ROLLBACK")
        assert b"Call me" not in kept
        assert not quotes(kept.decode("latin-1"), NUMBER.removeprefix("+").replace(" ", ""))
        assert house.webhook("im_receive_msg", said).status_code == 200
        ledger = house.context.db.read_now(lambda tx: count_receipts(tx, house.business_id))
    assert (ledger.received, ledger.waiting) == (2, 1), "the second is a copy of the first"
    assert b"receipts" in kept
