"""Hooks: a program, or a member for it, asks to be told of new or changed leads, each as one flat object.

They are what Zapier, Make and n8n call REST hooks; a push is signed as Standard Webhooks say.
"""

import base64
import secrets
from dataclasses import dataclass
from typing import Final

from contatto.crm.actions.snapshots import read_snapshot
from contatto.crm.connectors.webhook import PREFIX
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.dead_letters import send_again
from contatto.leads.model.events import LeadCaptured, LeadStatusChanged, LeadUpdated
from contatto.leads.store.credits import list_credits
from contatto.leads.store.records import list_leads_by_id
from contatto.measurement.model import MeasuredAd
from contatto.subscriptions import rules, store
from contatto.subscriptions.actions.pushing import NewSubscription, queue_push, request_of, subscribe_program
from contatto.subscriptions.model import HOOKS, Entity, Subscription

_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class NewHook:
    """A hook to make; without an ad account it is told of all leads, without a token it ends by hand."""

    entity: Entity
    callback_url: str
    ad_account_id: str = ""
    token_id: str = ""


def _new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def subscribe_hook(tx: Tx, business_id: str, new: NewHook) -> Subscription:
    """Make a hook with a secret of its own; the same one again is the one that is there.

    Raises:
        Refused: AD_LIMIT when there are too many.
    """
    tx.hold_key("hooks", business_id)
    for known in store.list_subscriptions(tx, business_id, new.entity):
        place = (known.callback_url, known.ad_account_id, known.token_id)
        if place == (new.callback_url, new.ad_account_id, new.token_id):
            return known
    made = NewSubscription(
        new.entity,
        rules.HOOK_APP,
        _new_secret(),
        new.callback_url,
        new.ad_account_id,
        token_id=new.token_id,
    )
    return subscribe_program(tx, business_id, made)


def load_hook(tx: Tx, business_id: str, number: int) -> Subscription:
    """A hook that has not ended.

    Raises:
        Refused: NOT_FOUND.
    """
    found = store.find_subscription(tx, business_id, number)
    if found is None or found.entity not in HOOKS or found.ended_at is not None:
        raise Refused(errors.NOT_FOUND, "Webhook not found.")
    return found


def rotate_hook(tx: Tx, hook: Subscription) -> str:
    """Give a hook a new secret, which is returned; the one before signs too, until the next change."""
    fresh = _new_secret()
    both = " ".join((fresh, *rules.secrets_of(hook.secret)[:1]))
    store.record_callback(tx, hook, hook.callback_url, both, hook.token_id)
    return fresh


def push_sample(tx: Tx, hook: Subscription) -> int:
    """Push a lead that nobody is; give the id of the push."""
    body = rules.hook_payload(hook.entity, rules.sample_lead(), tx.now)
    return queue_push(tx, hook, "", body)


def push_hooks(tx: Tx, event: LeadCaptured | LeadUpdated | LeadStatusChanged) -> None:
    """Tell of a new or a changed lead as it is now; a handler of the outbox."""
    entity = Entity.LEAD_CREATED if isinstance(event, LeadCaptured) else Entity.LEAD_CHANGED
    business_id = event.business_id
    lead = list_leads_by_id(tx, business_id, {event.lead_id}).get(event.lead_id)
    live = store.list_subscriptions(tx, business_id, entity)
    if not live or lead is None or lead.hidden_at is not None or lead.is_test:
        return
    earned = list_credits(tx, business_id, {lead.id}).get(lead.id)
    body = rules.hook_payload(entity, read_snapshot(tx, lead, "").values, tx.now)
    for hook in live:
        if _is_of(hook, earned[1] if earned else None):
            queue_push(tx, hook, lead.id, body)


def _is_of(hook: Subscription, ad: MeasuredAd | None) -> bool:
    """Whether a lead is of the ad account of a hook; one of no ad of ours is of every account."""
    is_ours = ad is not None and not ad.is_outside
    return (
        not hook.ad_account_id or not is_ours or (ad is not None and ad.ad_account_id == hook.ad_account_id)
    )


def pause_subscription(tx: Tx, subscription: Subscription) -> None:
    """Keep what is to be pushed until it is resumed."""
    store.record_paused(tx, subscription, tx.now)


def resume_subscription(tx: Tx, subscription: Subscription) -> None:
    """Push what has waited, and go on."""
    store.record_paused(tx, subscription, None)
    for push in store.list_due_pushes(tx, subscription.business_id, subscription.id):
        send_again(tx, request_of(subscription, push.id), rules.PLANS[subscription.entity])
