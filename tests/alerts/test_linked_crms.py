"""Who runs a business is told of a linked CRM that wants attention."""

from contatto.accounts.model import Role
from contatto.alerts import actions
from contatto.alerts.model import Choices, Kind
from contatto.alerts.rules import path_of
from contatto.alerts.store import alerts
from contatto.crm.actions.ledger import has_alarm
from contatto.crm.actions.targets import NewTarget, link_crm, pause_target
from contatto.crm.model.comparisons import Comparison
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.store.targets import find_target, record_target
from contatto.kit.clock import FixedClock
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from tests import make


def linked(tx: Tx, *, is_started: bool = True) -> Target:
    business_id = make.business(tx).id
    for role in (Role.OWNER, Role.AGENT):
        member = make.member(tx, business_id, f"{new_id()}@example.com", role)
        actions.choose_alerts(tx, Choices(business_id, member.id, mailed=tuple(Kind)))
    new = NewTarget("tryton", "Office", "https://crm.example.com", {
        "database": "crm", "user": "u", "password": "p"})  # fmt: skip
    return link_crm(tx, business_id, new, (), is_started=is_started)


def told(database: Database) -> list[tuple[str, str]]:
    found = database.read_now(
        lambda tx: tx.execute(alerts.select().order_by(alerts.c.stamp)).mappings().all()
    )
    return [(row["subject_id"], row["stamp"].partition(" ")[0]) for row in found if row["kind"] is Kind.CRM]


def test_leads_that_do_not_arrive_are_told_once_a_day_to_who_may_mend_it(
    database: Database, clock: FixedClock
) -> None:
    def begin(tx: Tx) -> Target:
        target = linked(tx)
        make.lead(tx, target.business_id, make.contact())
        return target

    target = database.write_now(begin)
    number = str(target.number)
    assert not database.read_now(has_alarm)
    clock.advance(minutes=6)
    assert database.read_now(has_alarm)
    for _ in range(2):
        database.write_now(actions.alert_linked_crms)
    assert told(database) == [(number, "none_arrives")]
    clock.advance(days=1)
    database.write_now(actions.alert_linked_crms)
    assert told(database) == [(number, "none_arrives")] * 2
    assert path_of(Kind.CRM, number) == f"/settings/integrations/{number}"


def test_a_crm_that_lets_us_in_no_more_or_holds_something_else_is_told(
    database: Database, clock: FixedClock
) -> None:
    def begin(tx: Tx) -> Target:
        target = linked(tx)
        differs = Comparison(tx.now, tx.now, held=3, doubled=1)
        record_target(tx, target, state=TargetState.DISCONNECTED, reason="401", comparison=differs)
        found = find_target(tx, target.business_id, target.id)
        assert found is not None
        assert found.comparison == differs
        return target

    target = database.write_now(begin)
    database.write_now(actions.alert_linked_crms)
    number = str(target.number)
    assert told(database) == [(number, "differs"), (number, "shut_out")]


def test_one_that_nobody_has_started_yet_is_no_news(database: Database, clock: FixedClock) -> None:
    def begin(tx: Tx) -> None:
        target = linked(tx, is_started=False)
        make.lead(tx, target.business_id, make.contact())
        second = linked(tx)
        make.lead(tx, second.business_id, make.contact())
        pause_target(tx, second)

    database.write_now(begin)
    clock.advance(days=1)
    assert not database.read_now(has_alarm)
    assert database.write_now(actions.alert_linked_crms) == 0
