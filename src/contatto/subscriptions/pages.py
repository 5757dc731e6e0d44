"""The settings page of subscriptions: who is told, and what became of the latest pushes."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import may, require
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.store import list_requests_of
from contatto.subscriptions import store
from contatto.subscriptions.actions import end_subscription, replay_push
from contatto.subscriptions.model import Push, PushState, Subscription
from contatto.subscriptions.rules import KINDS
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False, prefix="/settings/subscriptions")


@router.get("")
async def show_subscriptions(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.READ_LEADS)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        pushes = store.list_pushes(tx, caller.business_id)
        ids = {push.subscription_id for push in pushes}
        tries = _count_tries(tx, caller.business_id, pushes)
        known = store.list_subscriptions_by_id(tx, caller.business_id, ids)
        counts = store.count_pushes(tx, caller.business_id)
        live = store.list_subscriptions(tx, caller.business_id)
        return {
            "subscriptions": [_show(each, counts.get(each.id, {})) for each in live],
            "pushes": [_show_push(push, known.get(push.subscription_id), tries) for push in pushes],
        }

    values = await context.db.read(load)
    values |= {"caller": caller, "can_manage": may(caller, Permission.ADMINISTER)}
    return context.pages.render(request, "subscriptions/subscriptions.html", values)


@router.post("/{subscription_id}/end")
async def post_end(request: Request, caller: FormCaller, subscription_id: str) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)

    def work(tx: Tx) -> None:
        found = store.find_subscription(tx, caller.business_id, number_of(subscription_id))
        if found is None:
            raise Refused(errors.NOT_FOUND, "There is no such subscription.")
        end_subscription(tx, found, "ended_by_member")

    await context_of(request).db.write(work)
    return RedirectResponse("/settings/subscriptions", 303)


@router.post("/pushes/{push_id}/replay")
async def post_replay(request: Request, caller: FormCaller, push_id: str) -> RedirectResponse:
    require(caller, Permission.ADMINISTER)
    await context_of(request).db.write(lambda tx: replay_push(tx, caller.business_id, number_of(push_id)))
    return RedirectResponse("/settings/subscriptions", 303)


def _show(found: Subscription, counts: dict[PushState, int]) -> dict[str, Any]:
    return {
        "number": str(found.number),
        "entity": found.entity.value,
        "app_id": found.app_id,
        "callback_url": found.callback_url,
        "counts": {state.value: counts.get(state, 0) for state in PushState},
    }


def _count_tries(tx: Tx, business_id: str, pushes: list[Push]) -> dict[str, int]:
    ids = [str(push.id) for push in pushes]
    return {
        request.subject: request.attempts
        for kind in KINDS.values()
        for request in list_requests_of(tx, business_id, kind, ids)
    }


def _show_push(push: Push, of: Subscription | None, tries: dict[str, int]) -> dict[str, Any]:
    return {
        "id": push.id,
        "entity": of.entity.value if of else "",
        "state": push.state.value,
        "answer": push.answer,
        "attempts": tries.get(str(push.id), 0),
        "created_at": push.created_at,
        "can_replay": push.state is not PushState.DUE and of is not None and of.ended_at is None,
    }
