"""Who runs a business is told of an ad platform that is not told of its leads."""

from functools import partial

from contatto.accounts.model import Role
from contatto.alerts import actions
from contatto.alerts.model import Choices, Kind
from contatto.alerts.rules import path_of
from contatto.alerts.store import alerts
from contatto.kit.clock import FixedClock
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.signals.actions.ledger import has_signal_alarm, list_signal_alarms
from contatto.signals.model.settings import SignalMode
from contatto.signals.store.settings import record_signal_settings
from tests import make
from tests.signals.engine import Side, begun, with_ports

tell = partial(actions.alert_signals, list_signal_alarms)


def opened(tx: Tx) -> Side:
    tx = with_ports(tx)
    side = begun(tx)
    for role in (Role.OWNER, Role.AGENT):
        member = make.member(tx, side.business_id, f"{role}@example.com", role)
        actions.choose_alerts(tx, Choices(side.business_id, member.id, mailed=tuple(Kind)))
    side.lead(tx)
    return side


def told(database: Database) -> list[tuple[str, str, str]]:
    rows = database.read_now(lambda tx: tx.execute(alerts.select().order_by(alerts.c.stamp)).mappings().all())
    found = [row for row in rows if row["kind"] is Kind.SIGNALS]
    return [(row["subject_id"], row["stamp"].partition(" ")[0], row["member_id"]) for row in found]


def test_signals_that_do_not_arrive_are_told_once_a_day_to_who_may_mend_it(
    database: Database, clock: FixedClock
) -> None:
    side = database.write_now(opened)
    assert not database.read_now(has_signal_alarm)
    clock.moment = max(clock.moment, make.NOON)
    clock.advance(minutes=6)
    assert database.read_now(has_signal_alarm)
    for _ in range(2):
        database.write_now(tell)
    assert [each[:2] for each in told(database)] == [(side.account.id, "none_arrives")]
    clock.advance(days=1)
    database.write_now(tell)
    assert len(told(database)) == 2
    assert path_of(Kind.SIGNALS, side.account.id) == f"/settings/ad-platforms/{side.account.id}/signals"


def test_one_that_lets_us_in_no_more_is_told_and_one_that_is_turned_off_is_not(database: Database) -> None:
    def shut(tx: Tx, mode: SignalMode, side: Side) -> None:
        record_signal_settings(tx, side.settings(tx), mode=mode)

    side = database.write_now(opened)
    database.write_now(partial(shut, mode=SignalMode.SHUT_OUT, side=side))
    assert database.write_now(tell) > 0
    assert [each[1] for each in told(database)] == ["shut_out"]
    database.write_now(partial(shut, mode=SignalMode.OFF, side=side))
    assert not database.read_now(has_signal_alarm)
