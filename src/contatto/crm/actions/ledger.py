"""The ledger: what came in, which leads there are, and how far they are in each linked CRM; and alarms."""

from dataclasses import dataclass

from contatto.crm.actions.running import connector_of
from contatto.crm.model.deliveries import DeliveryState
from contatto.crm.model.targets import Target, TargetState
from contatto.crm.ports import CrmPorts, Intake
from contatto.crm.rules.plans import ALARM_AFTER
from contatto.crm.store import deliveries as store
from contatto.crm.store.targets import list_targets
from contatto.kit.db.tx import Tx


@dataclass(frozen=True, slots=True)
class TargetLedger:
    """Leads of the lists by how far they are in one target.

    ``leads`` is counted by itself, and is the sum of the others at any moment; ``to_come`` were there before
    the target was linked, and are not due yet. With ``is_alarming`` leads are due and none arrives.
    """

    target: Target
    leads: int
    to_come: int
    due: int
    sent: int
    verified: int
    dead: int
    is_alarming: bool

    @property
    def adds_up(self) -> bool:
        return self.leads == self.to_come + self.due + self.sent + self.verified + self.dead


@dataclass(frozen=True, slots=True)
class CrmLedger:
    """What came in, and each target."""

    intake: Intake
    targets: tuple[TargetLedger, ...]


def load_ledger(tx: Tx, business_id: str) -> CrmLedger:
    """The ledger of a business, read in one transaction."""
    states = store.count_states(tx, business_id)
    leads = store.count_listed_leads(tx, business_id)
    found = tuple(
        _ledger_of(tx, target, leads, states.get(target.id, {})) for target in list_targets(tx, business_id)
    )
    return CrmLedger(tx.ports[CrmPorts].intake(tx, business_id), found)


def _ledger_of(tx: Tx, target: Target, leads: int, states: dict[DeliveryState, int]) -> TargetLedger:
    return TargetLedger(
        target=target,
        leads=leads,
        to_come=store.count_leads_to_come(tx, target.business_id, target.id),
        due=states.get(DeliveryState.DUE, 0),
        sent=states.get(DeliveryState.SENT, 0),
        verified=states.get(DeliveryState.VERIFIED, 0),
        dead=states.get(DeliveryState.DEAD, 0),
        is_alarming=is_alarming(tx, target),
    )


def is_alarming(tx: Tx, target: Target) -> bool:
    """Whether leads have been due for five minutes and none has arrived since, or nobody is let in."""
    if target.state is TargetState.DISCONNECTED:
        return True
    connector = connector_of(tx, target)
    if target.state is not TargetState.ACTIVE or connector is None:
        return False
    since = store.find_oldest_due(tx, target.business_id, target.id)
    if since is None or since > tx.now - ALARM_AFTER:
        return False
    return target.verified_at is None or target.verified_at < tx.now - ALARM_AFTER
