"""Ten thousand leads that a CRM missed are all verified once it is connected again, by themselves."""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from contatto.crm.actions.targets import reconnect_target
from contatto.crm.model import Target, TargetState
from contatto.integrations.model import DeliveryState
from contatto.kit.db.database import open_database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest
from contatto.kit.vault import Vault
from tests import make
from tests.crm.engine import PORTS_WITH_MEMORY, counts, fresh, link, run_all, run_round
from tests.crm.memory import MemoryCrm

pytestmark = pytest.mark.slow
MISSED: Final = int(os.environ.get("CONTATTO_MISSED_LEADS", "0")) or 1_000
"""The variable asks for another number, such as the 10,000 of a release."""
ROUNDS: Final = 100_000


def shut_out(request: HttpRequest) -> HttpOutcome:
    return HttpAnswer(401, {}, b"")


def capture(tx: Tx, target: Target, number: int) -> None:
    make.lead(tx, target.business_id, make.contact(f"+659{number:07d}"), person_id=f"p{number}")


def test_what_was_missed_arrives_by_itself_once_it_is_connected_again(
    sqlite_template: Path, tmp_path: Path, clock: FixedClock
) -> None:
    shutil.copy(sqlite_template, tmp_path / "test.db")
    db = open_database(
        f"sqlite:///{tmp_path / 'test.db'}", clock, Vault({"test": bytes(32)}), PORTS_WITH_MEMORY
    )
    crm = MemoryCrm()

    def begin(tx: Tx) -> Target:
        target = link(tx, make.business(tx).id)
        run_all(tx, crm.handle)
        make.lead(tx, target.business_id, make.contact(), person_id="first")
        crm.token = ""
        run_all(tx, shut_out)
        assert fresh(tx, target).state is TargetState.DISCONNECTED
        return target

    target = db.write_now(begin)
    for number in range(1, MISSED):
        db.write_now(partial(capture, target=target, number=number))
    clock.advance(days=7)
    crm.token = "2"
    given = {"password": "new"}
    db.write_now(lambda tx: reconnect_target(tx, fresh(tx, target), "", given, ()))
    for _ in range(ROUNDS):
        clock.advance(seconds=1)
        if not db.write_now(lambda tx: run_round(tx, crm.handle)):
            break
    assert db.read_now(lambda tx: counts(tx, target)) == {DeliveryState.VERIFIED: MISSED}
    assert len({each["external_id"] for each in crm.live()}) == len(crm.live()) == MISSED
    db.close()
