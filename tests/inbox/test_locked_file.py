"""Webhooks while another process writes to SQLite's file: they wait for it, and are stored once."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from contatto.inbox.store.conversations import count_receipts
from tests.journeys.running import message, running_house


def test_a_webhook_waits_for_a_command_that_writes_and_is_stored_once(tmp_path: Path) -> None:
    with running_house(tmp_path, worker="separate") as house, ThreadPoolExecutor(1) as threads:
        file = house.context.settings.data_dir / "contatto.sqlite3"
        content = message("Call me on +65 8123 4567", "u1", 1_795_000_000_000, "m1")
        with closing(sqlite3.connect(file, isolation_level=None)) as command:
            command.execute("BEGIN IMMEDIATE")
            answer = threads.submit(house.webhook, "im_receive_msg", content)
            assert not house.context.db.read_now(lambda tx: count_receipts(tx, house.business_id)).received
            command.execute("ROLLBACK")
        assert answer.result(60).status_code == 200
        ledger = house.context.db.read_now(lambda tx: count_receipts(tx, house.business_id))
    assert (ledger.received, ledger.waiting) == (1, 1)
