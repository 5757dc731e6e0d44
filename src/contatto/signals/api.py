"""Ledger of signals to ad platforms, in the API v1.3."""

from typing import Final

from contatto.accounts.auth import api_routes
from contatto.accounts.model import Caller, Permission
from contatto.kit.api_types import Answer, TimeText, api_time
from contatto.kit.db.tx import Tx
from contatto.signals.actions import load_signal_ledger
from contatto.signals.store import list_signal_erasures

router: Final = api_routes("Signals")
MOST_ERASURES: Final = 100


class SignalErasureInfo(Answer, frozen=True):
    """Erased person; ``sent`` is the number of signals that the platform may have, as hashes."""

    lead_id: str
    state: str
    sent: int
    create_time: TimeText | None


class SignalAccountInfo(Answer, frozen=True):
    """External ad account with its signals.

    ``signals`` is counted separately from ``due``, ``sent``, ``withheld`` and ``dead``, and must be their
    sum: then ``adds_up`` is true. ``erasures`` are the latest 100.
    """

    outside_account_id: str
    platform: str
    external_id: str
    mode: str
    reason: str
    signals: int
    due: int
    sent: int
    withheld: int
    dead: int
    adds_up: bool
    alarms: list[str]
    last_arrived_time: TimeText | None
    erasures: list[SignalErasureInfo]


class SignalAccounts(Answer, frozen=True):
    accounts: list[SignalAccountInfo]


@router.transact("/contatto/signals/ledger/get/", Permission.ADMINISTER)
def get_signal_ledger(tx: Tx, caller: Caller) -> SignalAccounts:
    """Extension: return the counts of signals of each external ad account, which add up at any moment.

    ``mode`` is ``off``, ``active``, ``paused`` or ``shut_out``. ``alarms`` are ``shut_out``, ``none_arrives``
    (signals are due for five minutes and none has arrived), ``dead`` and ``miscounted``, the worst first. An
    erasure is ``finished`` if no signal was sent. Else it is ``unsupported``, since no platform deletes
    events on request.
    """
    infos: list[SignalAccountInfo] = []
    for ledger in load_signal_ledger(tx, caller.business_id):
        account, settings, counts = ledger.account, ledger.settings, ledger.counts
        erasures = list_signal_erasures(tx, account.business_id, account.id, MOST_ERASURES)
        infos.append(
            SignalAccountInfo(
                outside_account_id=account.id,
                platform=account.platform.value,
                external_id=account.external_id,
                mode=settings.mode.value,
                reason=settings.reason,
                signals=counts.total,
                due=counts.due,
                sent=counts.sent,
                withheld=counts.withheld,
                dead=counts.dead,
                adds_up=counts.adds_up,
                alarms=[alarm.value for alarm in ledger.alarms],
                last_arrived_time=api_time(settings.arrived_at) if settings.arrived_at else None,
                erasures=[
                    SignalErasureInfo(
                        erasure.lead_id, erasure.state.value, erasure.sent, api_time(erasure.created_at)
                    )
                    for erasure in erasures
                ],
            )
        )
    return SignalAccounts(infos)
