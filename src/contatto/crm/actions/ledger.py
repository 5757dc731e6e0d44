"""The ledger: what came in, which leads there are, and how far they are in each linked CRM; and alarms."""

from dataclasses import dataclass

from contatto.crm.actions.targets import NOT_CONNECTED, NOT_STARTED
from contatto.crm.model.deliveries import DeliveryState
from contatto.crm.model.targets import Target
from contatto.crm.ports import CrmPorts, Intake, ToldPlatform
from contatto.crm.rules.alarms import TOLD, Alarm, Standing, find_alarms
from contatto.crm.store import standings as store
from contatto.crm.store.targets import list_all_targets, list_targets
from contatto.kit.db.tx import Tx


@dataclass(frozen=True, slots=True)
class TargetLedger:
    """Leads of the lists by how far they are in one target.

    With ``is_alarming`` leads are due and none arrives, or nobody is let in.
    """

    target: Target
    standing: Standing
    alarms: tuple[Alarm, ...]

    @property
    def is_alarming(self) -> bool:
        return Alarm.SHUT_OUT in self.alarms or Alarm.NONE_ARRIVES in self.alarms


@dataclass(frozen=True, slots=True)
class CrmLedger:
    """What came in, each target, and each ad account elsewhere that is told of leads."""

    intake: Intake
    targets: tuple[TargetLedger, ...]
    told: tuple[ToldPlatform, ...] = ()


def load_ledger(tx: Tx, business_id: str) -> CrmLedger:
    """The ledger of a business, read in one transaction."""
    standings = load_standings(tx, business_id, list_targets(tx, business_id))
    ports = tx.ports[CrmPorts]
    return CrmLedger(ports.intake(tx, business_id), standings, tuple(ports.told(tx, business_id)))


def load_standings(tx: Tx, business_id: str, targets: list[Target]) -> tuple[TargetLedger, ...]:
    """Return how far the leads of a business are in some of its targets."""
    states = store.count_states(tx, business_id)
    leads = store.count_listed_leads(tx, business_id)
    return tuple(_ledger_of(tx, target, leads, states.get(target.id, {})) for target in targets)


def list_alarms(tx: Tx) -> list[tuple[str, int, Alarm]]:
    """The alarms of all businesses that are worth telling somebody: business, number of the CRM, and which.

    One that nobody has let go yet is none.
    """
    alarms = []
    for target in list_all_targets(tx):
        standing = Standing(
            dead=int(store.has_dead(tx, target.business_id, target.id)),
            due_since=store.find_oldest_due(tx, target.business_id, target.id),
        )
        is_started = target.reason not in (NOT_CONNECTED, NOT_STARTED)
        alarms += [
            (target.business_id, target.number, alarm)
            for alarm in find_alarms(target, standing, tx.now)
            if alarm in TOLD and is_started
        ]
    return alarms


def has_alarm(tx: Tx) -> bool:
    """Return whether any linked CRM of any business wants attention."""
    return bool(list_alarms(tx))


def _ledger_of(tx: Tx, target: Target, leads: int, states: dict[DeliveryState, int]) -> TargetLedger:
    standing = Standing(
        leads=leads,
        to_come=store.count_leads_to_come(tx, target.business_id, target.id),
        due=states.get(DeliveryState.DUE, 0),
        sent=states.get(DeliveryState.SENT, 0),
        verified=states.get(DeliveryState.VERIFIED, 0),
        dead=states.get(DeliveryState.DEAD, 0),
        due_since=store.find_oldest_due(tx, target.business_id, target.id),
    )
    return TargetLedger(target, standing, find_alarms(target, standing, tx.now))
