"""Alerts of linked CRMs and of ad platforms that need attention."""

from functools import partial

from contatto.accounts.model import Role
from contatto.alerts import actions
from contatto.alerts.model import AlertChoices, AlertKind
from contatto.alerts.rules import path_of
from contatto.alerts.store import alert_choices, alerts
from contatto.crm.actions.targets import NewTarget, link_crm, list_alarms, pause_target
from contatto.crm.model import Comparison, Target, TargetState
from contatto.crm.store.deliveries import find_target, record_target
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx, row_of
from contatto.kit.ids import new_id
from contatto.signals.actions import list_signal_alarms
from contatto.signals.model import SignalMode
from contatto.signals.store import record_signal_settings
from tests import make
from tests.signals.engine import Side, begun, with_ports


def link_alerted_crm(tx: Tx, *, is_started: bool = True) -> Target:
    business_id = make.business(tx).id
    for role in (Role.OWNER, Role.AGENT):
        member = make.member(tx, business_id, f"{new_id()}@example.com", role)
        tx.save(alert_choices, row_of(AlertChoices(business_id, member.id, mailed=tuple(AlertKind))))
    new = NewTarget("tryton", "Office", "https://crm.example.com", {
        "database": "crm", "user": "u", "password": "p"})  # fmt: skip
    return link_crm(tx, business_id, new, (), is_started=is_started)


def list_crm_alerts(database: Database) -> list[tuple[str, str]]:
    rows = database.read_now(lambda tx: tx.execute(alerts.select().order_by(alerts.c.stamp)).mappings().all())
    return [
        (row["subject_id"], row["stamp"].partition(" ")[0]) for row in rows if row["kind"] is AlertKind.CRM
    ]


def test_leads_that_do_not_arrive_are_told_once_a_day_to_who_may_mend_it(
    database: Database, clock: FixedClock
) -> None:
    def begin(tx: Tx) -> Target:
        target = link_alerted_crm(tx)
        make.lead(tx, target.business_id, make.contact())
        return target

    target = database.write_now(begin)
    number = str(target.number)
    assert not database.read_now(list_alarms)
    clock.advance(minutes=6)
    assert database.read_now(list_alarms)
    for _ in range(2):
        database.write_now(alert_linked_crms)
    assert list_crm_alerts(database) == [(number, "none_arrives")]
    clock.advance(days=1)
    database.write_now(alert_linked_crms)
    assert list_crm_alerts(database) == [(number, "none_arrives")] * 2
    assert path_of(AlertKind.CRM, number) == f"/settings/integrations/{number}"


def test_a_crm_that_lets_us_in_no_more_or_holds_something_else_is_told(
    database: Database, clock: FixedClock
) -> None:
    def begin(tx: Tx) -> Target:
        target = link_alerted_crm(tx)
        differs = Comparison(tx.now, tx.now, held=3, doubled=1)
        record_target(tx, target, state=TargetState.DISCONNECTED, reason="401", comparison=differs)
        saved_target = find_target(tx, target.business_id, target.id)
        assert saved_target is not None
        assert saved_target.comparison == differs
        return target

    target = database.write_now(begin)
    database.write_now(alert_linked_crms)
    number = str(target.number)
    assert list_crm_alerts(database) == [(number, "differs"), (number, "shut_out")]


def test_one_that_nobody_has_started_yet_is_no_news(database: Database, clock: FixedClock) -> None:
    def begin(tx: Tx) -> None:
        target = link_alerted_crm(tx, is_started=False)
        make.lead(tx, target.business_id, make.contact())
        second = link_alerted_crm(tx)
        make.lead(tx, second.business_id, make.contact())
        pause_target(tx, second)

    database.write_now(begin)
    clock.advance(days=1)
    assert not database.read_now(list_alarms)
    assert database.write_now(alert_linked_crms) == 0


alert_linked_crms = partial(actions.alert_alarms, AlertKind.CRM, list_alarms)
alert_signals = partial(actions.alert_alarms, AlertKind.SIGNALS, list_signal_alarms)


def open_alerted_account(tx: Tx) -> Side:
    tx = with_ports(tx)
    side = begun(tx)
    for role in (Role.OWNER, Role.AGENT):
        member = make.member(tx, side.business_id, f"{role}@example.com", role)
        tx.save(alert_choices, row_of(AlertChoices(side.business_id, member.id, mailed=tuple(AlertKind))))
    side.lead(tx)
    return side


def list_signal_alerts(database: Database) -> list[tuple[str, str, str]]:
    rows = database.read_now(lambda tx: tx.execute(alerts.select().order_by(alerts.c.stamp)).mappings().all())
    signal_rows = [row for row in rows if row["kind"] is AlertKind.SIGNALS]
    return [(row["subject_id"], row["stamp"].partition(" ")[0], row["member_id"]) for row in signal_rows]


def test_signals_that_do_not_arrive_are_told_once_a_day_to_who_may_mend_it(
    database: Database, clock: FixedClock
) -> None:
    side = database.write_now(open_alerted_account)
    assert not database.read_now(list_signal_alarms)
    clock.moment = max(clock.moment, make.NOON)
    clock.advance(minutes=6)
    assert database.read_now(list_signal_alarms)
    for _ in range(2):
        database.write_now(alert_signals)
    assert [alert[:2] for alert in list_signal_alerts(database)] == [(side.account.id, "none_arrives")]
    clock.advance(days=1)
    database.write_now(alert_signals)
    assert len(list_signal_alerts(database)) == 2
    assert path_of(AlertKind.SIGNALS, side.account.id) == f"/settings/ad-platforms/{side.account.id}/signals"


def test_one_that_lets_us_in_no_more_is_told_and_one_that_is_turned_off_is_not(database: Database) -> None:
    def shut(tx: Tx, mode: SignalMode, side: Side) -> None:
        record_signal_settings(tx, side.settings(tx), mode=mode)

    side = database.write_now(open_alerted_account)
    database.write_now(partial(shut, mode=SignalMode.SHUT_OUT, side=side))
    assert database.write_now(alert_signals) > 0
    assert [alert[1] for alert in list_signal_alerts(database)] == ["shut_out"]
    database.write_now(partial(shut, mode=SignalMode.OFF, side=side))
    assert not database.read_now(list_signal_alarms)
