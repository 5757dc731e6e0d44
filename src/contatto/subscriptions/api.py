"""Subscriptions to leads and to messages in the API v1.3."""

import hmac
import json
import time
from functools import partial
from typing import Annotated, Final, Literal

from msgspec import UNSET, UnsetType
from pydantic import Field
from starlette.requests import Request

from contatto.accounts.auth import (
    API_HEADER,
    api_routes,
    find_token_caller,
    load_advertiser,
    may_use,
    note_caller,
    require,
)
from contatto.accounts.model import Access, BusinessId, Caller, Credential, Permission
from contatto.accounts.store import find_business, list_ad_accounts
from contatto.channels.model import ChannelApp
from contatto.channels.store import find_app, list_apps_named
from contatto.forms.store import find_version
from contatto.kit import errors
from contatto.kit.api_types import (
    Answer,
    Answered,
    ApiId,
    ApiModel,
    IdText,
    PageInfo,
    PageQuery,
    TextId,
    api_answer,
    describe_query,
    page_info,
    read_query,
    request_id_of,
)
from contatto.kit.db.database import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.rate_limits import GuessLimit, RequestLimit, client_network
from contatto.leads.model import LeadSource
from contatto.subscriptions import actions, rules, store
from contatto.subscriptions.model import Entity, NewSubscription, Subscription
from contatto.ui.requests import context_of, part_of

router: Final = api_routes("Subscriptions")

type Secret = Annotated[str, Field(min_length=1, max_length=rules.SECRET_LIMIT)]
type HookEvent = Literal["lead.created", "lead.changed"]
type Url = Annotated[str, Field(max_length=rules.URL_LIMIT)]


class Detail(ApiModel):
    """Filter of a subscription; without ``page_id`` it matches the leads of all forms.

    The token authorizes the program: when it is revoked, the subscription ends.
    """

    access_token: Annotated[str, Field(max_length=256)]
    advertiser_id: ApiId
    lead_source: LeadSource = LeadSource.INSTANT_FORM
    page_id: ApiId | None = None


class AppBody(ApiModel):
    app_id: TextId
    secret: Secret


class SubscribeBody(AppBody):
    subscribe_entity: Literal["LEAD"]
    callback_url: Url
    subscription_detail: Detail


class SubscriptionQuery(PageQuery):
    app_id: TextId
    secret: Secret
    subscribe_entity: Literal["LEAD"] = "LEAD"


class UnsubscribeBody(AppBody):
    subscription_id: ApiId


class SubscriptionId(Answer, frozen=True):
    subscription_id: IdText


class SubscriptionDetail(Answer, frozen=True):
    """Filter of a subscription; without ``page_id`` it matches the leads of all forms."""

    advertiser_id: IdText
    lead_source: LeadSource
    page_id: IdText | UnsetType = UNSET


class SubscriptionInfo(Answer, frozen=True):
    subscription_id: IdText
    app_id: str
    subscribe_entity: Entity
    callback_url: str
    subscription_detail: SubscriptionDetail


class Subscriptions(Answer, frozen=True):
    subscriptions: list[SubscriptionInfo]
    page_info: PageInfo


class DeletedWebhook(Answer, frozen=True):
    app_id: str
    event_type: Entity


class WebhookInfo(Answer, frozen=True):
    """Address of an app's message pushes, empty without one."""

    app_id: str
    event_type: Entity
    callback_url: str


@router.post("/subscription/subscribe/", Access(Credential.APP, Permission.READ_LEADS))
async def subscribe_to_leads(request: Request, body: SubscribeBody) -> Answered[SubscriptionId]:
    """Push leads to an address, each when it is captured or gets more details.

    A push carries ``X-Open-Signature``: HMAC-SHA256 of the body with the app's secret, in lower-case
    hexadecimal. Delivery is at least once. After any answer but 2xx it is retried with back-off for 24 hours;
    the answer 410 ends the subscription. Leads without an ad are pushed for each ad account of the business.
    """
    detail = body.subscription_detail
    app = await app_caller(request, body.app_id, body.secret, detail.access_token)
    require(app, Permission.READ_LEADS)
    caller = await find_token_caller(request, detail.access_token)
    require(caller, Permission.READ_LEADS)
    actions.check_callback(body.callback_url, context_of(request).settings.allowed_hosts)
    db, page_id = context_of(request).db, detail.page_id
    account = await db.read(lambda tx: load_advertiser(tx, caller, detail.advertiser_id))
    if page_id is not None:
        if detail.lead_source is LeadSource.DIRECT_MESSAGE:
            says = "subscription_detail.page_id: leave it out with lead_source DIRECT_MESSAGE."
            raise Refused(errors.INVALID, says)
        if await db.read(lambda tx: find_version(tx, caller.business_id, page_id)) is None:
            raise Refused(errors.NOT_FOUND, "subscription_detail.page_id: there is no such published form.")
    new = NewSubscription(
        Entity.LEAD,
        body.app_id,
        body.secret,
        body.callback_url,
        account.id,
        detail.lead_source.value,
        page_id or 0,
        caller.subject_id,
    )
    subscription = await db.write(lambda tx: actions.subscribe_program(tx, caller.business_id, new))
    return api_answer(SubscriptionId(str(subscription.number)), request_id_of(request))


@router.get(
    "/subscription/get/",
    Access(Credential.APP, Permission.READ_LEADS),
    openapi_extra=describe_query(SubscriptionQuery),
)
async def get_subscriptions(request: Request) -> Answered[Subscriptions]:
    """List an app's subscriptions that have not ended, newest first; tokens and secrets are not shown."""
    query = read_query(request, SubscriptionQuery)
    caller = await app_caller(request, query.app_id, query.secret)
    require(caller, Permission.READ_LEADS)
    db = context_of(request).db
    own = await db.read(lambda tx: _list_own(tx, caller.business_id, Entity.LEAD, query))
    accounts = await db.read(lambda tx: list_ad_accounts(tx, caller.business_id))
    numbers: dict[str, int] = {account.id: account.number for account in accounts}
    permitted = [subscription for subscription in own if may_use(caller, subscription.ad_account_id)]
    first = (query.page - 1) * query.page_size
    rows = [
        SubscriptionInfo(
            subscription_id=str(subscription.number),
            app_id=subscription.app_id,
            subscribe_entity=subscription.entity,
            callback_url=subscription.callback_url,
            subscription_detail=SubscriptionDetail(
                str(numbers.get(subscription.ad_account_id, 0)),
                LeadSource(subscription.lead_source),
                str(subscription.page_number) if subscription.page_number else UNSET,
            ),
        )
        for subscription in permitted[first : first + query.page_size]
    ]
    return api_answer(Subscriptions(rows, page_info(query, len(permitted))), request_id_of(request))


@router.post("/subscription/unsubscribe/", Access(Credential.APP, Permission.READ_LEADS))
async def unsubscribe_from_leads(request: Request, body: UnsubscribeBody) -> Answered[SubscriptionId]:
    """End a subscription, with its pending retries."""
    caller = await app_caller(request, body.app_id, body.secret)
    require(caller, Permission.READ_LEADS)
    db = context_of(request).db
    own = await db.read(lambda tx: _list_own(tx, caller.business_id, Entity.LEAD, body))
    chosen = [subscription for subscription in own if subscription.number == body.subscription_id]
    if not chosen or not may_use(caller, chosen[0].ad_account_id):
        raise Refused(errors.NOT_FOUND, "subscription_id: this app has no such subscription.")
    await db.write(lambda tx: actions.end_subscription(tx, chosen[0], "unsubscribed"))
    return api_answer(SubscriptionId(str(body.subscription_id)), request_id_of(request))


class HookBody(ApiModel):
    """Target of the leads of an ad account, and of leads without an ad."""

    advertiser_id: ApiId
    event: HookEvent
    callback_url: Url


class HookQuery(ApiModel):
    event: HookEvent = Entity.LEAD_CREATED.value


class HookId(ApiModel):
    subscription_id: ApiId


class MadeHook(Answer, frozen=True):
    """New or existing hook; its secret signs each push."""

    subscription_id: IdText
    event: Entity
    secret: str


class HookSample(Answer, frozen=True):
    """Example content of a push; names of form answers begin with ``answer:``."""

    leads: list[dict[str, str | int]]


@router.transact("/contatto/hook/subscribe/", Permission.READ_LEADS)
def subscribe_hook_to_leads(tx: Tx, caller: Caller, body: HookBody, request: Request) -> MadeHook:
    """Push each new or changed lead to an address as one flat object, such as to Zapier, Make or n8n.

    Pushes are signed according to Standard Webhooks, with the secret of the answer. After any answer but 2xx
    a push is retried for 24 hours; the answer 410 ends the hook. The hook also ends with the token that made
    it. A repeated request returns the existing hook.
    """
    actions.check_callback(body.callback_url, context_of(request).settings.allowed_hosts)
    account = load_advertiser(tx, caller, body.advertiser_id)
    target = body.callback_url, account.id, caller.subject_id
    hook = actions.subscribe_hook(tx, caller.business_id, Entity(body.event), *target)
    return MadeHook(str(hook.number), hook.entity, hook.secret.split()[0])


@router.transact("/contatto/hook/sample/", Permission.READ_LEADS)
def get_hook_sample(tx: Tx, _caller: Caller, query: HookQuery) -> HookSample:
    """Return a fictional lead as a hook sends it, for mapping its fields."""
    body = rules.hook_payload(Entity(query.event), rules.SAMPLE_LEAD, tx.now)
    return HookSample([json.loads(body)])


@router.transact("/contatto/hook/unsubscribe/", Permission.READ_LEADS)
def unsubscribe_hook_from_leads(tx: Tx, caller: Caller, body: HookId) -> SubscriptionId:
    """End a hook, with its pending retries."""
    hook = actions.load_hook(tx, caller.business_id, body.subscription_id)
    if caller.ad_account_ids is not None and not may_use(caller, hook.ad_account_id):
        raise Refused(errors.NOT_FOUND, "Webhook not found.")
    actions.end_subscription(tx, hook, "unsubscribed")
    return SubscriptionId(str(body.subscription_id))


class WebhookBody(AppBody):
    event_type: Literal["DIRECT_MESSAGE"] = "DIRECT_MESSAGE"


class UpdateWebhook(WebhookBody):
    callback_url: Url


@router.post("/business/webhook/update/", Access(Credential.APP, Permission.READ_INBOX))
async def update_webhook(request: Request, body: UpdateWebhook) -> Answered[WebhookInfo]:
    """Set the address to which the messages of the business are pushed for this app; it has one at a time.

    A push carries ``TikTok-Signature: t=<unix>,s=<hex>``: HMAC-SHA256 of ``<t>.<body>`` with the app's
    secret. Delivery is at least once, with retries for 72 hours. The events are ``im_receive_msg``,
    ``im_send_msg``, ``im_referral_msg`` with the ad that a person came from, and ``im_mark_read_msg`` with
    the time up to which a side has read. Notices and notes are never pushed. Comments
    and audits have no events. An address that was set with an access token ends when the token is revoked.
    """
    caller = await app_caller(request, body.app_id, body.secret)
    require(caller, Permission.READ_INBOX)
    actions.check_callback(body.callback_url, context_of(request).settings.allowed_hosts)
    token_id = caller.subject_id if request.headers.get(API_HEADER) else ""
    new = NewSubscription(
        Entity.DIRECT_MESSAGE, body.app_id, body.secret, body.callback_url, token_id=token_id
    )
    webhook = await context_of(request).db.write(lambda tx: actions.set_webhook(tx, caller.business_id, new))
    info = WebhookInfo(webhook.app_id, webhook.entity, webhook.callback_url)
    return api_answer(info, request_id_of(request))


@router.post("/business/webhook/delete/", Access(Credential.APP, Permission.READ_INBOX))
async def delete_webhook(request: Request, body: WebhookBody) -> Answered[DeletedWebhook]:
    """Stop pushing messages for this app; without an address this does nothing."""
    caller = await app_caller(request, body.app_id, body.secret)
    require(caller, Permission.READ_INBOX)

    def work(tx: Tx) -> None:
        for subscription in _list_own(tx, caller.business_id, Entity.DIRECT_MESSAGE, body):
            actions.end_subscription(tx, subscription, "unsubscribed")

    await context_of(request).db.write(work)
    return api_answer(DeletedWebhook(body.app_id, Entity(body.event_type)), request_id_of(request))


@router.get(
    "/business/webhook/list/",
    Access(Credential.APP, Permission.READ_INBOX),
    openapi_extra=describe_query(WebhookBody),
)
async def list_webhooks(request: Request) -> Answered[WebhookInfo]:
    """Return the address to which messages are pushed for this app, empty without one."""
    query = read_query(request, WebhookBody)
    caller = await app_caller(request, query.app_id, query.secret)
    require(caller, Permission.READ_INBOX)
    webhooks = await context_of(request).db.read(
        lambda tx: _list_own(tx, caller.business_id, Entity.DIRECT_MESSAGE, query)
    )
    callback_url = webhooks[0].callback_url if webhooks else ""
    info = WebhookInfo(query.app_id, Entity(query.event_type), callback_url)
    return api_answer(info, request_id_of(request))


def _list_own(
    tx: Tx, business_id: str, entity: Entity, app: AppBody | SubscriptionQuery
) -> list[Subscription]:
    """Return the live subscriptions of an app with its secret."""
    live = store.list_subscriptions(tx, business_id, entity)
    key = app.app_id, app.secret
    return [subscription for subscription in live if (subscription.app_id, subscription.secret) == key]


APP_PERMISSIONS: Final = frozenset({Permission.READ_LEADS, Permission.READ_INBOX})
"""Permissions of an app's own secret: to set the addresses of its pushes."""


async def app_caller(request: Request, app_id: str, secret: str, token: str = "") -> Caller:
    """Authenticate a program by an app's secret, or by an access token of the header or body.

    With a token its scopes apply. An app that the token's business registered must send its secret; another
    app may send any. Without a token the caller acts for the business with this app and secret.

    Raises WRONG_APP, BAD_TOKEN, TOO_MANY; SIGN_IN, when several businesses have this app.
    """
    access_token = request.headers.get(API_HEADER, "") or token
    if not access_token:
        app = await part_of(request, GuessLimit).judge(
            client_network(request), app_id, partial(_app_of_secret, request, app_id, secret)
        )
        # Only a caller with the secret counts towards the app's rate limit.
        key = f"app:{app.business_id}:{app_id}"
        part_of(request, RequestLimit).check(key, time.monotonic())
        act_for(app.business_id)
        business_id = BusinessId(app.business_id)
        business = await context_of(request).db.read(lambda tx: find_business(tx, business_id))
        name = business.name if business else ""
        caller = Caller(business_id, name, app.app_id, app.app_id, "", None, APP_PERMISSIONS)
        return await note_caller(request, caller)
    caller = await find_token_caller(request, access_token)
    registered_app = await context_of(request).db.read(lambda tx: find_app(tx, caller.business_id, app_id))
    registered_secret = registered_app.secret if registered_app else None
    is_same = hmac.compare_digest((registered_secret or secret).encode(), secret.encode())
    if not app_id or not secret or not is_same:
        raise Refused(errors.WRONG_APP)
    return caller


async def _app_of_secret(request: Request, app_id: str, secret: str) -> ChannelApp:
    """Return the app with this secret; errors do not reveal whether an app of this id exists.

    Raises WRONG_APP; SIGN_IN, when several businesses have this app.
    """
    candidates = await context_of(request).db.read(lambda tx: list_apps_named(tx, app_id))
    apps = [app for app in candidates if hmac.compare_digest(app.secret.encode(), secret.encode())]
    if not apps:
        raise Refused(errors.WRONG_APP)
    if len(apps) > 1:
        raise Refused(errors.SIGN_IN, "Several businesses have this app: send the header Access-Token too.")
    return apps[0]
