"""The ledger of what came in and how far leads are in linked CRMs, in the API v1.3."""

from typing import Final

from starlette.requests import Request

from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.crm.actions.ledger import CrmLedger, TargetLedger, load_ledger
from contatto.crm.model.comparisons import Comparison
from contatto.kit.api_types import Answer, IdText, TimeText, api_time, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3", tags=["CRM"])


class IntakeInfo(Answer, frozen=True):
    """What came in from platforms and chats; ``received`` is the sum of the others."""

    received: int
    stored: int
    merged: int
    refused: int
    waiting: int


class ComparisonInfo(Answer, frozen=True):
    """The last comparison of the CRM's records with the ledger; ``held`` carry an id of ours."""

    ended_time: TimeText
    held: int
    sent_again: int
    left_gone: int
    doubled: int
    unknown: int
    erased_again: int


class TargetInfo(Answer, frozen=True):
    """A linked CRM: ``leads`` is counted by itself, and is the sum of ``to_come`` to ``dead``."""

    target_id: IdText
    name: str
    connector: str
    state: str
    reason: str
    leads: int
    to_come: int
    due: int
    sent: int
    verified: int
    dead: int
    adds_up: bool
    alarms: list[str]
    last_arrived_time: TimeText | None
    due_since_time: TimeText | None
    comparison: ComparisonInfo | None


class ToldInfo(Answer, frozen=True):
    """An ad account elsewhere that is told of leads: ``signals`` is the sum of the four after it."""

    name: str
    signals: int
    due: int
    sent: int
    withheld: int
    dead: int
    adds_up: bool


class LedgerInfo(Answer, frozen=True):
    """The ledger of a business at one moment; ``ad_platforms`` are told by signals."""

    intake: IntakeInfo
    targets: list[TargetInfo]
    ad_platforms: list[ToldInfo]


@router.get("/contatto/crm/ledger/get/")
async def get_crm_ledger(request: Request, caller: ApiCaller) -> Answered[LedgerInfo]:
    """Extension: what came in, and how far the leads are in each linked CRM; the sums hold at any moment.

    ``alarms`` are ``shut_out`` (the CRM lets us in no more), ``none_arrives`` (leads are due for five minutes
    and none has arrived), ``dead``, ``miscounted``, ``differs`` (its records are not those of the ledger) and
    ``mapping``, the worst first. ``due_since_time`` is since when the oldest lead is due.
    """
    require(caller, Permission.ADMINISTER)

    def work(tx: Tx) -> CrmLedger:
        return load_ledger(tx, caller.business_id)

    found = await context_of(request).db.read(work)
    intake = found.intake
    shown = IntakeInfo(intake.received, intake.stored, intake.merged, intake.refused, intake.waiting)
    told = [
        ToldInfo(each.name, each.signals, each.due, each.sent, each.withheld, each.dead, each.adds_up)
        for each in found.told
    ]
    targets = [_show(target) for target in found.targets]
    return api_answer(LedgerInfo(shown, targets, told), request_id_of(request))


def _show(found: TargetLedger) -> TargetInfo:
    target, has = found.target, found.standing
    return TargetInfo(
        target_id=str(target.number),
        name=target.name,
        connector=target.connector,
        state=target.state.value,
        reason=target.reason,
        leads=has.leads,
        to_come=has.to_come,
        due=has.due,
        sent=has.sent,
        verified=has.verified,
        dead=has.dead,
        adds_up=has.adds_up,
        alarms=[alarm.value for alarm in found.alarms],
        last_arrived_time=api_time(target.verified_at),
        due_since_time=api_time(has.due_since),
        comparison=_compared(target.comparison),
    )


def _compared(last: Comparison | None) -> ComparisonInfo | None:
    if last is None:
        return None
    return ComparisonInfo(
        ended_time=api_time(last.ended_at),
        held=last.held,
        sent_again=last.sent_again,
        left_gone=last.left_gone,
        doubled=last.doubled,
        unknown=last.unknown,
        erased_again=last.erased_again,
    )
