"""Settings page of subscriptions, hooks and their latest pushes."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Form, Request
from pydantic import BaseModel, Field

from contatto.accounts.auth import may, page_routes
from contatto.accounts.model import Caller, Permission
from contatto.accounts.store import find_ad_account, list_ad_accounts
from contatto.crm.actions.checks import make_signing_secret
from contatto.crm.connectors.webhook import PREFIX
from contatto.integrations.model import SENDING_REASONS, DeliveryState
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.outbound.queue import list_requests_of
from contatto.subscriptions import actions, store
from contatto.subscriptions.model import HOOKS, Entity, Subscription
from contatto.subscriptions.rules import KINDS, URL_LIMIT
from contatto.ui.requests import context_of

HOME: Final = "/settings/subscriptions"
router: Final = page_routes(HOME)
STATES: Final = {
    DeliveryState.DUE: (N_("Waiting"), "review"),
    DeliveryState.SENT: (N_("Accepted"), "on"),
    DeliveryState.DEAD: (N_("Failed"), "failed"),
}
REASONS: Final = {
    **SENDING_REASONS,
    "dismissed": N_("A member dismissed this message."),
    "ended": N_("Subscription ended"),
}


class HookForm(BaseModel):
    """Form of a new hook; without an ad account it gets all leads."""

    event: Literal["lead.created", "lead.changed"] = "lead.created"
    callback_url: Annotated[str, Field(max_length=URL_LIMIT + 1)] = ""
    ad_account_id: Annotated[str, Field(max_length=36)] = ""


@router.page("", Permission.READ_LEADS, "subscriptions/subscriptions.html")
def show_subscriptions(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    form: HookForm | None = None,
    shown: tuple[str, str] = ("", ""),
) -> dict[str, Any]:
    """Show subscriptions and pushes, the entries of a refused form, or a new secret.

    ``shown`` is the address of a hook and its new secret.
    """
    pushes = store.ledger.list_entries(tx, caller.business_id)
    push_ids = [str(push.id) for push in pushes]
    tries = {
        sent.subject: sent.attempts
        for kind in KINDS.values()
        for sent in list_requests_of(tx, caller.business_id, kind, push_ids)
    }
    ids = {push.subscription_id for push in pushes}
    subscriptions = store.list_subscriptions_by_id(tx, caller.business_id, ids)
    push_rows = []
    for push in pushes:
        subscription = subscriptions.get(push.subscription_id)
        is_live = subscription is not None and subscription.ended_at is None
        state, tone = STATES[push.state]
        row = {
            "id": push.id,
            "entity": subscription.entity.value if subscription else "",
            "state": state,
            "tone": tone,
            "why": LazyText(REASONS[push.reason]) if push.reason in REASONS else push.reason,
            "attempts": tries.get(str(push.id), 0),
            "created_at": push.created_at,
            "can_replay": is_live and push.state is not DeliveryState.DUE,
        }
        push_rows.append(row)
    counts = store.ledger.count_states(tx, caller.business_id)
    live = store.list_subscriptions(tx, caller.business_id)
    return {
        "subscriptions": [
            {
                "number": str(subscription.number),
                "entity": subscription.entity.value,
                "app_id": subscription.app_id,
                "callback_url": subscription.callback_url,
                "is_hook": subscription.entity in HOOKS,
                "is_paused": subscription.paused_at is not None,
                "counts": {
                    state.value: counts.get(subscription.id, {}).get(state, 0) for state in DeliveryState
                },
            }
            for subscription in live
        ],
        "pushes": push_rows,
        "ad_accounts": [(account.id, account.name) for account in list_ad_accounts(tx, caller.business_id)],
        "can_manage": may(caller, Permission.ADMINISTER),
        "shown": shown,
        "typed": form or HookForm(),
    }


@router.form("", Permission.ADMINISTER, show_subscriptions, errors.INVALID)
def post_hook(tx: Tx, request: Request, caller: Caller, form: Annotated[HookForm, Form()]) -> dict[str, Any]:
    """Create a hook, and show its secret once."""
    actions.check_callback(form.callback_url, context_of(request).settings.allowed_hosts)
    if form.ad_account_id and find_ad_account(tx, caller.business_id, id=form.ad_account_id) is None:
        raise Refused(errors.NOT_FOUND, "Ad account not found.")
    place = form.callback_url.strip(), form.ad_account_id
    hook = actions.subscribe_hook(tx, caller.business_id, Entity(form.event), *place)
    return {"form": None, "shown": (hook.callback_url, hook.secret.split()[0])}


def _add_change(path: str, does: str, change: Callable[[Tx, Subscription], object]) -> None:
    """Add the route of a change of a live subscription; ``does`` describes it."""

    def post_change(tx: Tx, request: Request, caller: Caller, subscription_id: str) -> str:
        subscription = store.find_subscription(tx, caller.business_id, number_of(subscription_id))
        if subscription is None or subscription.ended_at is not None:
            raise Refused(errors.NOT_FOUND, "Subscription not found.")
        change(tx, subscription)
        return HOME

    post_change.__doc__ = does
    router.form(f"/{{subscription_id}}/{path}", Permission.ADMINISTER)(post_change)


_add_change("end", "End a subscription.", partial(actions.end_subscription, reason="ended_by_member"))
_add_change(
    "pause", "Hold pushes back until a member resumes.", lambda tx, it: store.record_paused(tx, it, tx.now)
)
_add_change("resume", "Let the worker queue pushes that wait.", partial(store.record_paused, at=None))
_add_change("test", "Push a sample lead; the list of pushes shows its result.", actions.push_sample)


@router.form("/{subscription_id}/rotate", Permission.ADMINISTER, show_subscriptions)
def post_rotate(tx: Tx, request: Request, caller: Caller, subscription_id: str) -> dict[str, Any]:
    """Give a hook a new secret and show it once; the old one signs too until the next rotation."""
    hook = actions.load_hook(tx, caller.business_id, number_of(subscription_id))
    secrets = make_signing_secret(PREFIX), *hook.secret.split()[:1]
    store.record_callback(tx, hook, hook.callback_url, " ".join(secrets), hook.token_id)
    return {"shown": (hook.callback_url, secrets[0])}


@router.form("/pushes/{push_id}/replay", Permission.ADMINISTER)
def post_replay(tx: Tx, request: Request, caller: Caller, push_id: str) -> str:
    actions.replay_push(tx, caller.business_id, number_of(push_id))
    return HOME
