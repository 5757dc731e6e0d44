"""The ledger of linked CRMs in the API v1.3, and where CRMs post what people changed there."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.crm.actions.incoming import INCOMING, take_posted_changes
from contatto.crm.actions.ledger import CrmLedger, TargetLedger, load_ledger
from contatto.crm.connectors.incoming import check_signature, read_changes
from contatto.crm.model.operations import RecordChange
from contatto.crm.model.targets import Target
from contatto.crm.store.targets import find_target, find_target_of_number
from contatto.kit.answer_schemas import ApiRouter
from contatto.kit.answers import Answer, IdText, TimeText
from contatto.kit.api_types import api_time, number_of, request_id_of
from contatto.kit.db.row_security import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, HotRoute, api_answer, json_answer, read_body
from contatto.ui.context import context_of

router: Final = ApiRouter(prefix="/open_api/v1.3", tags=["CRM"])


class IntakeInfo(Answer, frozen=True):
    """What came in from platforms and chats; ``received`` is the sum of the others."""

    received: int
    stored: int
    merged: int
    refused: int
    waiting: int


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


class LedgerInfo(Answer, frozen=True):
    """The ledger of a business at one moment."""

    intake: IntakeInfo
    targets: list[TargetInfo]


@router.get("/contatto/crm/ledger/get/")
async def get_crm_ledger(request: Request, caller: ApiCaller) -> Answered[LedgerInfo]:
    """Extension: what came in, and how far the leads are in each linked CRM; the sums hold at any moment.

    ``alarms`` are ``shut_out`` (the CRM lets us in no more), ``none_arrives`` (leads are due for five minutes
    and none has arrived), ``dead``, ``miscounted`` and ``mapping``, the worst first.
    """
    require(caller, Permission.ADMINISTER)

    def work(tx: Tx) -> CrmLedger:
        return load_ledger(tx, caller.business_id)

    found = await context_of(request).db.read(work)
    intake = found.intake
    shown = IntakeInfo(intake.received, intake.stored, intake.merged, intake.refused, intake.waiting)
    return api_answer(LedgerInfo(shown, [_show(each) for each in found.targets]), request_id_of(request))


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
        alarms=[each.value for each in found.alarms],
        last_arrived_time=api_time(target.verified_at),
    )


BODY_LIMIT: Final = 64 * 1024


async def receive_crm_changes(request: Request) -> Response:
    """Check the signature over the raw body, take each change that is news, and say how many were told.

    Whether there is such a target shows in no answer: it is answered as one whose secret did not sign.
    """
    context = context_of(request)
    number = number_of(request.path_params["target_id"])
    body = await read_body(request, BODY_LIMIT)
    target = await context.db.read(lambda tx: find_target_of_number(tx, number))
    secret = target.secrets.get(INCOMING, "") if target else ""
    now, tolerance_s = context.clock.now(), context.settings.webhook_tolerance_s
    message_id = check_signature(request.headers, body, secret, now, tolerance_s)
    changes = read_changes(body)
    if target is not None:
        await _take(request, target, message_id, changes)
    return json_answer({"received": len(changes)})


async def _take(request: Request, target: Target, message_id: str, changes: list[RecordChange]) -> None:
    act_for(target.business_id)

    def work(tx: Tx) -> None:
        fresh = find_target(tx, target.business_id, target.id)
        if fresh is not None:
            take_posted_changes(tx, fresh, message_id, changes)

    await context_of(request).db.write(work)


routes: Final = [HotRoute("/integrations/webhooks/{target_id}", receive_crm_changes, methods=["POST"])]
