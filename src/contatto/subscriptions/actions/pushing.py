"""Making and ending subscriptions, and telling them: a push is queued with the event, sent by the worker."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.forms.model import FormSubmitted, FormVersion, TestLeadMade
from contatto.forms.rules.outside import answer_data, sample_answers
from contatto.forms.store.records import find_answer, find_version, list_versions_by_id
from contatto.kit import errors
from contatto.kit.client import read_address
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.exchange import HttpAnswer, HttpRequest
from contatto.kit.handlers import Among, Businesses
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound.dead_letters import send_again
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    Step,
)
from contatto.kit.outbound.store import delete_requests_of, queue_request
from contatto.kit.outbox import emit
from contatto.leads.model.events import LeadCaptured, LeadRemoved, LeadUpdated
from contatto.leads.model.leads import Lead, LeadSource, Origin
from contatto.leads.rules.outside import CHAT_FIELDS, NAME, ad_data, chat_data, origins_of
from contatto.leads.store.credits import list_credits
from contatto.leads.store.records import list_leads_by_id, list_outgoing_points, list_wrong_values
from contatto.measurement.model import MeasuredAd
from contatto.subscriptions import rules, store
from contatto.subscriptions.model import Entity, Push, PushState, Subscription, SubscriptionEnded

FORGOTTEN_AT_ONCE: Final = 200
KEEP: Final = timedelta(days=7)
"""How long a push is kept after it was settled, so that a person can look at it and send it again."""


def of_told(entity: Entity) -> Businesses:
    """The businesses of which programs are told: others cost no job."""
    return Among(store.list_told_businesses, entity)


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """A subscription to make. The numbers and the source narrow it down; 0 and empty are for all."""

    entity: Entity
    app_id: str
    secret: str = field(repr=False)
    callback_url: str
    ad_account_id: str = ""
    lead_source: str = ""
    page_number: int = 0
    token_id: str = ""


def check_callback(url: str, allowed: Collection[str]) -> None:
    """Refuse an address that nothing may be sent to.

    Raises:
        Refused: INVALID.
    """
    try:
        read_address(url[: rules.URL_LIMIT + 1], allowed)
        fits = len(url) <= rules.URL_LIMIT
    except ValueError:
        fits = False
    if not fits:
        says = "callback_url: give a public https address on port 443; the operator may allow others."
        raise Refused(errors.INVALID, says)


def subscribe_program(tx: Tx, business_id: str, new: NewSubscription) -> Subscription:
    """Make a subscription; the same one again is the one that is there.

    Raises:
        Refused: AD_LIMIT when there are too many.
    """
    _hold(tx, business_id)
    live = store.list_subscriptions(tx, business_id)
    for known in live:
        if _is_same(known, new):
            return known
    if len(live) >= rules.MOST_SUBSCRIPTIONS:
        raise Refused(errors.AD_LIMIT, f"A business has {rules.MOST_SUBSCRIPTIONS} subscriptions at most.")
    own = {name: getattr(new, name) for name in NewSubscription.__dataclass_fields__}
    made = Subscription(new_id(), business_id, new_number(), created_at=tx.now, **own)
    store.save_subscription(tx, made)
    return made


def _hold(tx: Tx, business_id: str) -> None:
    """Let two at once not both find that a subscription is not there."""
    tx.hold_key("subscriptions", business_id)


def _is_same(known: Subscription, new: NewSubscription) -> bool:
    return all(getattr(known, name) == getattr(new, name) for name in NewSubscription.__dataclass_fields__)


def set_webhook(tx: Tx, business_id: str, new: NewSubscription) -> Subscription:
    """Set where the messages of a business are pushed for an app; it has one address at a time."""
    _hold(tx, business_id)
    for known in store.list_subscriptions(tx, business_id, Entity.DIRECT_MESSAGE):
        if known.app_id == new.app_id:
            store.record_callback(tx, known, new.callback_url, new.secret, new.token_id)
            return store.list_subscriptions_by_id(tx, business_id, {known.id})[known.id]
    return subscribe_program(tx, business_id, new)


def end_subscription(tx: Tx, subscription: Subscription, reason: str) -> None:
    """End a subscription; nothing more is pushed to it."""
    if store.record_end(tx, subscription, reason):
        business_id = subscription.business_id
        emit(tx, business_id, SubscriptionEnded(business_id, subscription.id, reason))


def push_lead(tx: Tx, event: LeadCaptured | LeadUpdated) -> None:
    """Tell of a lead that a chat or a member made or added to; a handler of the outbox.

    A lead of a form is told of with its answers, a test lead with its samples.
    """
    lead = _shown_lead(tx, event.business_id, event.lead_id)
    is_of_chat = Origin(event.origin) in origins_of(LeadSource.DIRECT_MESSAGE)
    if lead is None or lead.is_test or not is_of_chat:
        return
    data = chat_data(lead, list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id])
    told = {NAME, *event.fields} if isinstance(event, LeadUpdated) else set(CHAT_FIELDS)
    _queue_lead(tx, lead, {name: value for name, value in data.items() if name in told})


def push_form_lead(tx: Tx, event: FormSubmitted) -> None:
    """Tell of a lead that sent a form, with its answers; a handler of the outbox."""
    answer = find_answer(tx, event.business_id, event.answer_id)
    lead = _shown_lead(tx, event.business_id, event.lead_id)
    if answer is None or lead is None:
        return
    version = list_versions_by_id(tx, event.business_id, {answer.version_id}).get(answer.version_id)
    if version is not None:
        wrong = list_wrong_values(tx, lead.business_id, {lead.id})[lead.id]
        _queue_lead(tx, lead, answer_data(version.content, answer.answers, wrong), version)


def push_test_lead(tx: Tx, event: TestLeadMade) -> None:
    """Tell of a test lead; a handler of the outbox."""
    lead = _shown_lead(tx, event.business_id, event.lead_id)
    if lead is None:
        return
    version = find_version(tx, event.business_id, event.page_number) if event.page_number else None
    if version is not None:
        samples = sample_answers(version.content, version.number)
        _queue_lead(tx, lead, answer_data(version.content, samples), version)
    else:
        points = list_outgoing_points(tx, lead.business_id, {lead.id})[lead.id]
        _queue_lead(tx, lead, chat_data(lead, points))


def _shown_lead(tx: Tx, business_id: str, lead_id: str) -> Lead | None:
    lead = list_leads_by_id(tx, business_id, {lead_id}).get(lead_id) if lead_id else None
    return None if lead is None or lead.hidden_at is not None else lead


def _queue_lead(tx: Tx, lead: Lead, changes: Mapping[str, str], version: FormVersion | None = None) -> None:
    live = store.list_subscriptions(tx, lead.business_id, Entity.LEAD)
    if not live:
        return
    earned = list_credits(tx, lead.business_id, {lead.id}).get(lead.id)
    ad = earned[1] if earned else None
    for subscription in live:
        if not _wants(subscription, ad, version):
            continue
        account = accounts.find_ad_account(tx, BusinessId(lead.business_id), subscription.ad_account_id)
        if account is not None:
            body = rules.lead_payload(_entry(lead, account, ad, version), changes, tx.now)
            queue_push(tx, subscription, lead.id, body)


def _wants(subscription: Subscription, ad: MeasuredAd | None, version: FormVersion | None) -> bool:
    """Whether a lead is of this source, form and ad account; one of no ad of ours is of every account."""
    source = LeadSource.INSTANT_FORM if version else LeadSource.DIRECT_MESSAGE
    of_page = subscription.page_number in (0, version.number if version else 0)
    of_account = ad is None or ad.is_outside or ad.ad_account_id == subscription.ad_account_id
    return subscription.lead_source == source and of_page and of_account


def _entry(
    lead: Lead, account: AdAccount, ad: MeasuredAd | None, version: FormVersion | None
) -> dict[str, Any]:
    """An entry of the push; every field of the API is there, empty where there is nothing to say."""
    source = LeadSource.INSTANT_FORM if version else LeadSource.DIRECT_MESSAGE
    return {
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


def queue_message_pushes(
    tx: Tx, business_id: str, message_id: str, body_of: Callable[[Subscription], bytes]
) -> None:
    """Queue the push of one message to each program that is told of messages."""
    for subscription in store.list_subscriptions(tx, business_id, Entity.DIRECT_MESSAGE):
        queue_push(tx, subscription, message_id, body_of(subscription))


def queue_push(tx: Tx, of: Subscription, subject_id: str, body: bytes) -> int:
    """Keep a push; it waits while its subscription is paused. Its id is given back."""
    push_id = store.append_push(tx, of, subject_id, body)
    if of.paused_at is None:
        queue_request(tx, request_of(of, push_id), rules.PLANS[of.entity])
    return push_id


def request_of(of: Subscription, push_id: int) -> NewRequest:
    """The request that brings a push."""
    destination = rules.destination_of(of.callback_url)
    return NewRequest(of.business_id, rules.KINDS[of.entity], str(push_id), destination)


def push_kind(entity: Entity) -> OutboundKind:
    """How pushes of leads, or of messages, are brought to their subscribers."""

    def ready(tx: Tx, request: OutboundRequest) -> None:
        ready_push(tx, request.business_id, int(request.subject))

    plan = rules.PLANS[entity]
    return OutboundKind(rules.KINDS[entity], begin_push, read_push_answer, settle_push, plan, ready)


def begin_push(tx: Tx, request: OutboundRequest) -> Step:
    """What is sent; nothing where the push is gone, or its subscription has ended."""
    push, subscription = _find_push(tx, request)
    if push is None or push.state is not PushState.DUE:
        return Done()
    if subscription is None or subscription.ended_at is not None:
        store.record_push_state(tx, push, PushState.DEAD, "ended")
        return Done()
    if subscription.paused_at is not None:
        return Done()
    of_business = BusinessId(subscription.business_id)
    if subscription.token_id and not accounts.is_token_live(tx, of_business, subscription.token_id):
        end_subscription(tx, subscription, "token_revoked")
        return Done()
    body = store.load_push_body(tx, push.business_id, push.id)
    headers = rules.push_headers(subscription.entity, body, subscription.secret, tx.now, push.id)
    return Ask(HttpRequest("POST", subscription.callback_url, headers, body))


def _find_push(tx: Tx, request: OutboundRequest) -> tuple[Push | None, Subscription | None]:
    push = store.find_push(tx, request.business_id, int(request.subject))
    if push is None:
        return None, None
    of = store.list_subscriptions_by_id(tx, push.business_id, {push.subscription_id})
    return push, of.get(push.subscription_id)


def read_push_answer(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    """What an answer means; 410 ends the subscription."""
    push, subscription = _find_push(tx, request)
    if push is None or subscription is None:
        return Done()
    if answer.status == rules.GONE:
        store.record_push_state(tx, push, PushState.DEAD, str(rules.GONE))
        end_subscription(tx, subscription, "gone")
        return Done()
    step = rules.read_answer(answer)
    if isinstance(step, Done):
        store.record_push_state(tx, push, PushState.SENT, str(answer.status))
    return step


def settle_push(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Show what came of a try that brought nothing."""
    push, _ = _find_push(tx, request)
    if push is not None and isinstance(outcome, NotNow | Failed):
        shown = PushState.DUE if state is RequestState.DUE else PushState.DEAD
        store.record_push_state(tx, push, shown, outcome.reason)


def replay_push(tx: Tx, business_id: str, push_id: int) -> Push:
    """Send a settled push again.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it is on its way, or its subscription has ended.
    """
    push, subscription = ready_push(tx, business_id, push_id)
    send_again(tx, request_of(subscription, push_id), rules.PLANS[subscription.entity])
    return push


def ready_push(tx: Tx, business_id: str, push_id: int) -> tuple[Push, Subscription]:
    """Make a settled push ready to be sent again.

    Raises:
        Refused: NOT_FOUND; CONFLICT when it is on its way, or its subscription has ended.
    """
    push = store.find_push(tx, business_id, push_id)
    if push is None:
        raise Refused(errors.NOT_FOUND, "Delivery not found.")
    of = store.list_subscriptions_by_id(tx, business_id, {push.subscription_id})
    subscription = of.get(push.subscription_id)
    if subscription is None or subscription.ended_at is not None:
        raise Refused(errors.CONFLICT, "The subscription has ended. Nothing was sent.")
    if not store.record_replay(tx, push):
        raise Refused(errors.CONFLICT, "This delivery is already on its way.")
    return push, subscription


def forget_lead_pushes(tx: Tx, event: LeadRemoved) -> None:
    """Delete what was told, or was to be told, of a lead that is gone; a handler of the outbox."""
    _delete_pushes(tx, store.list_pushes_of(tx, event.business_id, event.lead_id))


def forget_subjects(tx: Tx, business_id: str, subject_ids: Collection[str]) -> None:
    """Delete what was told, or was to be told, of leads, chats and messages whose person is forgotten."""
    for subject_id in sorted(subject_ids):
        _delete_pushes(tx, store.list_pushes_of(tx, business_id, subject_id))


def purge_pushes(tx: Tx) -> int:
    """Delete some pushes that were settled long enough ago; say how many."""
    return _delete_pushes(tx, store.list_settled_pushes(tx, tx.now - KEEP, FORGOTTEN_AT_ONCE))


def _delete_pushes(tx: Tx, gone: list[Push]) -> int:
    """Delete pushes together with the requests that bring them."""
    of_business: dict[str, list[int]] = defaultdict(list)
    for push in gone:
        of_business[push.business_id].append(push.id)
    for business_id, ids in of_business.items():
        store.delete_pushes(tx, business_id, ids)
        for kind in rules.KINDS.values():
            delete_requests_of(tx, business_id, kind, [str(push_id) for push_id in ids])
    return len(gone)
