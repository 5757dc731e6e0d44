"""Where CRMs post what people changed there, in plain Starlette: signed, and answered after the commit."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from contatto.crm.actions.incoming import INCOMING, take_posted_changes
from contatto.crm.connectors.incoming import check_signature, read_changes
from contatto.crm.model.operations import RecordChange
from contatto.crm.model.targets import Target
from contatto.crm.store.targets import find_target, find_target_of_number
from contatto.kit.api_types import number_of
from contatto.kit.db.database import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.http import HotRoute, json_answer, read_body
from contatto.ui.context import context_of

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
