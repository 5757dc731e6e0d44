"""Who settles deliveries beside whom."""

import pytest

from contatto.inbox.actions import incoming
from contatto.inbox.actions.incoming import settling_work
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from tests import make


def test_others_help_only_with_what_one_leaves_waiting(
    database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = settling_work(3, lambda work, tx: work(tx))
    assert len(others) == 2

    def are_due() -> list[bool]:
        return database.read_now(lambda tx: [work.is_due(tx) for work in (first, *others)])

    def store(tx: Tx) -> None:
        make.receipt(tx, make.shop(tx).business_id, make.webhook("im_receive_msg", make.said("Hi", "u1")))

    assert are_due() == [False, False, False]
    database.write_now(store)
    assert are_due() == [True, False, False]
    monkeypatch.setattr(incoming, "MANY_AT_ONCE", 1)
    database.write_now(store)
    assert are_due() == [True, False, False]
    clock.advance(seconds=1)
    assert are_due() == [True, True, False], "there is a batch for one more"
    assert database.write_now(first.run_batch) == 2
    assert are_due() == [False, False, False]
    database.write_now(store)
    clock.advance(seconds=3)
    assert are_due() == [True, True, True], "whatever waits for so long"
    assert database.write_now(others[0].run_batch) == 1
    assert are_due() == [False, False, False]
