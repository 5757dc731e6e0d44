"""Subscriptions and hooks: create, pause and end them, and queue their pushes."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId
from contatto.crm.actions.checks import make_signing_secret
from contatto.crm.actions.deliveries import read_snapshot
from contatto.crm.connectors.webhook import PREFIX
from contatto.forms.model import FormSubmitted, FormVersion, TestLeadMade
from contatto.forms.rules.views import answer_data, sample_answers
from contatto.forms.store import find_version, list_answers_by_id, list_versions
from contatto.integrations.model import DeliveryState
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.client import read_address
from contatto.kit.outbound.model import Done, Failed, NotNow, OutboundRequest, Outcome, RequestState, Step
from contatto.kit.outbound.queue import OutboundKind, delete_requests_of, queue_request, send_again
from contatto.kit.outbox import emit
from contatto.leads.model import (
    Lead,
    LeadCaptured,
    LeadRemoved,
    LeadSource,
    LeadStatusChanged,
    LeadUpdated,
    Origin,
)
from contatto.leads.rules.records import CHAT_FIELDS, NAME, ORIGINS, ad_data, chat_data
from contatto.leads.store.listing import (
    list_credits,
    list_leads_by_id,
    list_outgoing_points,
    list_wrong_values,
)
from contatto.subscriptions import rules, store
from contatto.subscriptions.model import HOOKS, Entity, NewSubscription, Push, Subscription, SubscriptionEnded

PUSHES_PER_RUN: Final = 200
_CREATION_LOCK: Final = "subscriptions"
"""Lock against concurrent creation of the same subscription."""
RETENTION: Final = timedelta(days=7)
"""Time for which a settled push can be viewed and sent again."""


def check_callback(url: str, allowed: Collection[str]) -> None:
    """Refuse an address that is not public, unless its host is allowed. Raises INVALID."""
    try:
        read_address(url[: rules.URL_LIMIT + 1], allowed)
        fits = len(url) <= rules.URL_LIMIT
    except ValueError:
        fits = False
    if not fits:
        says = "callback_url: give a public https address on port 443; the operator may allow others."
        raise Refused(errors.INVALID, says)


def subscribe_program(tx: Tx, business_id: str, new: NewSubscription) -> Subscription:
    """Create a subscription, or return a live one with the same fields.

    Raises AD_LIMIT, for too many subscriptions.
    """
    tx.hold_key(_CREATION_LOCK, business_id)
    live = store.list_subscriptions(tx, business_id)
    for existing in live:
        if row_of(new).items() <= row_of(existing).items():
            return existing
    if len(live) >= rules.MOST_SUBSCRIPTIONS:
        raise Refused(errors.AD_LIMIT, f"A business has {rules.MOST_SUBSCRIPTIONS} subscriptions at most.")
    subscription = Subscription(
        **row_of(new), id=new_id(), business_id=business_id, number=new_number(), created_at=tx.now
    )
    secret = tx.seal(subscription.secret, business_id, "subscriptions.secret", subscription.id)
    tx.insert(store.subscriptions, row_of(subscription) | {"secret": secret})
    return subscription


def set_webhook(tx: Tx, business_id: str, new: NewSubscription) -> Subscription:
    """Set the address of an app's message pushes; it has one address at a time."""
    tx.hold_key(_CREATION_LOCK, business_id)
    for existing in store.list_subscriptions(tx, business_id, Entity.DIRECT_MESSAGE):
        if existing.app_id == new.app_id:
            store.record_callback(tx, existing, new.callback_url, new.secret, new.token_id)
            return store.list_subscriptions_by_id(tx, business_id, {existing.id})[existing.id]
    return subscribe_program(tx, business_id, new)


def end_subscription(tx: Tx, subscription: Subscription, reason: str) -> None:
    """End a subscription if it is live, and mark its due pushes as dead."""
    business_id, is_live = subscription.business_id, store.subscriptions.c.ended_at.is_(None)
    end = {"ended_at": tx.now, "end_reason": reason}
    if tx.change(store.subscriptions, business_id, subscription.id, is_live, **end):
        own = {"subscription_id": subscription.id, "state": DeliveryState.DUE}
        due = sa.update(store.pushes).where(*rows_of(store.pushes, business_id, **own))
        tx.execute(due.values(state=DeliveryState.DEAD, settled_at=tx.now))
        emit(tx, business_id, SubscriptionEnded(business_id, subscription.id, reason))


def push_lead(tx: Tx, event: LeadCaptured | LeadUpdated) -> None:
    """Push a new or changed lead of a chat; a handler of the outbox.

    `push_form_lead` pushes leads of forms with their answers, `push_test_lead` test leads.
    """
    lead = _find_visible_lead(tx, event.business_id, event.lead_id)
    is_of_chat = Origin(event.origin) in ORIGINS[LeadSource.DIRECT_MESSAGE]
    if lead is None or lead.is_test or not is_of_chat:
        return
    data = chat_data(lead, list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id])
    fields = {NAME, *event.fields} if isinstance(event, LeadUpdated) else set(CHAT_FIELDS)
    _queue_lead(tx, lead, {name: value for name, value in data.items() if name in fields})


def push_form_lead(tx: Tx, event: FormSubmitted) -> None:
    """Push the lead of a submitted form with its answers; a handler of the outbox."""
    answer = next(iter(list_answers_by_id(tx, event.business_id, [event.answer_id])), None)
    lead = _find_visible_lead(tx, event.business_id, event.lead_id)
    if answer is None or lead is None:
        return
    version = next(iter(list_versions(tx, event.business_id, id=answer.version_id)), None)
    if version is not None:
        wrong = list_wrong_values(tx, lead.business_id, {lead.id})[lead.id]
        _queue_lead(tx, lead, answer_data(version.content, answer.answers, wrong), version)


def push_test_lead(tx: Tx, event: TestLeadMade) -> None:
    """Push a test lead; a handler of the outbox."""
    lead = _find_visible_lead(tx, event.business_id, event.lead_id)
    if lead is None:
        return
    version = find_version(tx, event.business_id, event.page_number) if event.page_number else None
    if version is not None:
        samples = sample_answers(version.content, version.number)
        _queue_lead(tx, lead, answer_data(version.content, samples), version)
    else:
        points = list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id]
        _queue_lead(tx, lead, chat_data(lead, points))


def _find_visible_lead(tx: Tx, business_id: str, lead_id: str) -> Lead | None:
    lead = list_leads_by_id(tx, business_id, {lead_id}).get(lead_id) if lead_id else None
    return None if lead is None or lead.hidden_at is not None else lead


def _queue_lead(tx: Tx, lead: Lead, changes: Mapping[str, str], version: FormVersion | None = None) -> None:
    """Queue the push of a lead to each subscription to its source, form and ad account.

    A lead without an ad of ours matches every account.
    """
    live = store.list_subscriptions(tx, lead.business_id, Entity.LEAD)
    if not live:
        return
    credit = list_credits(tx, lead.business_id, {lead.id}).get(lead.id)
    ad = credit[1] if credit else None
    source = LeadSource.INSTANT_FORM if version else LeadSource.DIRECT_MESSAGE
    for subscription in live:
        is_of_page = subscription.page_number in (0, version.number if version else 0)
        is_of_account = ad is None or bool(ad.platform) or ad.ad_account_id == subscription.ad_account_id
        if subscription.lead_source != source or not is_of_page or not is_of_account:
            continue
        account = accounts.find_ad_account(tx, BusinessId(lead.business_id), id=subscription.ad_account_id)
        if account is None:
            continue
        entry = {
            "id": str(lead.number),
            "lead_source": source.value,
            "page_id": str(version.number) if version else "",
            "page_name": version.name if version else "",
            "advertiser_id": str(account.number),
            "advertiser_name": account.name,
            "library_id": "",
            **ad_data(ad),
            "create_time": int(lead.created_at.timestamp()),
            "is_test": lead.is_test,
        }
        queue_push(tx, subscription, lead.id, rules.lead_payload(entry, changes, tx.now))


def push_sample(tx: Tx, subscription: Subscription) -> None:
    """Queue a sample lead for a live hook. Raises NOT_FOUND."""
    hook = load_hook(tx, subscription.business_id, subscription.number)
    queue_push(tx, hook, "", rules.hook_payload(hook.entity, rules.SAMPLE_LEAD, tx.now))


def queue_push(tx: Tx, subscription: Subscription, subject_id: str, body: bytes) -> None:
    """Save a push, and queue it unless its subscription is paused."""
    push_id = new_number()
    row = {
        "id": push_id,
        "business_id": subscription.business_id,
        "subscription_id": subscription.id,
        "subject_id": subject_id,
        "state": DeliveryState.DUE,
        "is_queued": subscription.paused_at is None,
        "body": tx.vault.seal_bytes(body, subscription.business_id, "pushes.body", str(push_id)),
        "reason": "",
        "created_at": tx.now,
    }
    tx.insert(store.pushes, row)
    if subscription.paused_at is None:
        queue_request(tx, request_of(subscription, push_id), rules.PLANS[subscription.entity])


def request_of(subscription: Subscription, push_id: int) -> outbound.NewRequest:
    destination = rules.destination_of(subscription.callback_url)
    return outbound.NewRequest(
        subscription.business_id, rules.KINDS[subscription.entity], str(push_id), destination
    )


def settle_push(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Record the reason of a failed try; after the last one the push is dead."""
    push = store.ledger.find_open(tx, request)
    if push is not None and isinstance(outcome, NotNow | Failed):
        push_state = DeliveryState.DUE if state is RequestState.DUE else DeliveryState.DEAD
        store.ledger.record(tx, push, push_state, outcome.reason)


def begin_push(tx: Tx, request: OutboundRequest) -> Step:
    """Build the request of a push.

    Nothing is sent without a due push and a live subscription. While the subscription is paused, the push
    waits.
    """
    push, subscription = _find_push(tx, request.business_id, int(request.subject))
    if push is None or push.state is not DeliveryState.DUE:
        return Done()
    if subscription is None or subscription.ended_at is not None:
        store.ledger.record(tx, push, DeliveryState.DEAD, "ended")
        return Done()
    if subscription.paused_at is not None:
        store.ledger.record(tx, push, DeliveryState.DUE, push.reason, is_queued=False)
        return Done()
    business_id = BusinessId(subscription.business_id)
    if subscription.token_id and not accounts.is_token_live(tx, business_id, subscription.token_id):
        end_subscription(tx, subscription, "token_revoked")
        return Done()
    sealed_body = tx.scalar(
        sa.select(store.pushes.c.body).where(*rows_of(store.pushes, business_id, id=push.id))
    )
    body = tx.vault.open_bytes(sealed_body, business_id, "pushes.body", str(push.id))
    headers = rules.push_headers(subscription.entity, body, subscription.secret, tx.now, push.id)
    return outbound.Ask(outbound.HttpRequest("POST", subscription.callback_url, headers, body))


def _find_push(tx: Tx, business_id: str, push_id: int) -> tuple[Push | None, Subscription | None]:
    push = store.ledger.find(tx, business_id, push_id)
    if push is None:
        return None, None
    subscriptions = store.list_subscriptions_by_id(tx, business_id, {push.subscription_id})
    return push, subscriptions.get(push.subscription_id)


def read_push_answer(tx: Tx, request: OutboundRequest, answer: outbound.HttpAnswer) -> Step:
    """Interpret a receiver's answer: 2xx accepts the push, 410 ends the subscription."""
    push, subscription = _find_push(tx, request.business_id, int(request.subject))
    if push is None or subscription is None:
        return Done()
    if answer.status == rules.HTTP_GONE:
        store.ledger.record(tx, push, DeliveryState.DEAD, str(rules.HTTP_GONE))
        end_subscription(tx, subscription, "gone")
        return Done()
    if not 200 <= answer.status < 300:
        return NotNow(str(answer.status), outbound.retry_after_s(answer))
    store.ledger.record(tx, push, DeliveryState.SENT, str(answer.status))
    return Done()


def replay_push(tx: Tx, business_id: str, push_id: int) -> Push:
    """Send a settled push again.

    Raises NOT_FOUND; CONFLICT while it is being sent, or after its subscription ended.
    """
    push, subscription = prepare_replay(tx, business_id, push_id)
    send_again(tx, request_of(subscription, push_id), rules.PLANS[subscription.entity])
    return push


def prepare_replay(tx: Tx, business_id: str, push_id: int) -> tuple[Push, Subscription]:
    """Mark a settled push as due again, before its request is sent.

    Raises NOT_FOUND; CONFLICT while it is being sent, or after its subscription ended.
    """
    push, subscription = _find_push(tx, business_id, push_id)
    push = check_found(push, "Delivery not found.")
    if subscription is None or subscription.ended_at is not None:
        raise Refused(errors.CONFLICT, "The subscription has ended. Nothing was sent.")
    if push.state is DeliveryState.DUE:
        raise Refused(errors.CONFLICT, "This delivery is already on its way.")
    store.ledger.record(tx, push, DeliveryState.DUE, is_queued=True)
    return push, subscription


PUSH_KINDS: Final = {
    entity: OutboundKind(
        rules.KINDS[entity],
        begin_push,
        read_push_answer,
        settle_push,
        rules.PLANS[entity],
        replay=lambda tx, request: prepare_replay(tx, request.business_id, int(request.subject)),
    )
    for entity in Entity
}


def forget_lead_pushes(tx: Tx, event: LeadRemoved) -> None:
    """Delete the pushes of a removed lead; a handler of the outbox."""
    forget_subjects(tx, event.business_id, [event.lead_id])


def forget_subjects(tx: Tx, business_id: str, subject_ids: Collection[str]) -> None:
    """Delete the pushes of some leads, messages or conversations."""
    for subject_id in sorted(subject_ids):
        own = rows_of(store.pushes, business_id, subject_id=subject_id)
        _delete_pushes(tx, tx.list(Push, sa.select(store.pushes).where(*own)))


def purge_pushes(tx: Tx) -> int:
    """Delete some settled pushes after the retention; return their number."""
    is_old = store.pushes.c.settled_at < tx.now - RETENTION
    return _delete_pushes(tx, tx.list(Push, sa.select(store.pushes).where(is_old).limit(PUSHES_PER_RUN)))


def _delete_pushes(tx: Tx, pushes: list[Push]) -> int:
    by_business: dict[str, list[int]] = defaultdict(list)
    for push in pushes:
        by_business[push.business_id].append(push.id)
    for business_id, ids in by_business.items():
        tx.delete(store.pushes, business_id, id=ids)
        for kind in rules.KINDS.values():
            delete_requests_of(tx, business_id, kind, [str(push_id) for push_id in ids])
    return len(pushes)


def subscribe_hook(
    tx: Tx, business_id: str, entity: Entity, callback_url: str, ad_account_id: str = "", token_id: str = ""
) -> Subscription:
    """Create a REST hook with its own secret, or return the existing one.

    Zapier, Make and n8n use REST hooks; signatures follow Standard Webhooks. Without an ad account it gets
    all leads. Without a token it stays until a member or the receiver ends it.

    Raises AD_LIMIT, for too many subscriptions.
    """
    tx.hold_key("hooks", business_id)
    for hook in store.list_subscriptions(tx, business_id, entity):
        place = (hook.callback_url, hook.ad_account_id, hook.token_id)
        if place == (callback_url, ad_account_id, token_id):
            return hook
    secret = make_signing_secret(PREFIX)
    new = NewSubscription(entity, rules.HOOK_APP, secret, callback_url, ad_account_id, token_id=token_id)
    return subscribe_program(tx, business_id, new)


def load_hook(tx: Tx, business_id: str, number: int) -> Subscription:
    """Load a live hook. Raises NOT_FOUND."""
    hook = store.find_subscription(tx, business_id, number)
    if hook is None or hook.entity not in HOOKS or hook.ended_at is not None:
        raise Refused(errors.NOT_FOUND, "Webhook not found.")
    return hook


def push_hooks(tx: Tx, event: LeadCaptured | LeadUpdated | LeadStatusChanged) -> None:
    """Push a new or changed lead to its hooks; a handler of the outbox."""
    entity = Entity.LEAD_CREATED if isinstance(event, LeadCaptured) else Entity.LEAD_CHANGED
    business_id = event.business_id
    lead = list_leads_by_id(tx, business_id, {event.lead_id}).get(event.lead_id)
    live = store.list_subscriptions(tx, business_id, entity)
    if not live or lead is None or lead.hidden_at is not None or lead.is_test:
        return
    credit = list_credits(tx, business_id, {lead.id}).get(lead.id)
    body = rules.hook_payload(entity, read_snapshot(tx, lead, "").values, tx.now)
    ad = credit[1] if credit else None
    for hook in live:  # a lead without an ad of ours matches every account
        if not hook.ad_account_id or ad is None or ad.platform or ad.ad_account_id == hook.ad_account_id:
            queue_push(tx, hook, lead.id, body)


def release_pushes(tx: Tx) -> int:
    """Queue pushes that waited for their subscription to be resumed; return their number."""
    count = 0
    for push in store.ledger.release(tx, PUSHES_PER_RUN):
        count += 1
        subscriptions = store.list_subscriptions_by_id(tx, push.business_id, {push.subscription_id})
        subscription = subscriptions[push.subscription_id]
        send_again(tx, request_of(subscription, push.id), rules.PLANS[subscription.entity])
    return count
