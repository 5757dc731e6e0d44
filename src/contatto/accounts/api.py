"""API of ad accounts, access tokens, accepted terms, and the audit log."""

from functools import partial
from typing import Annotated, Final, Literal

from fastapi import Request
from msgspec import Meta
from pydantic import Field

from contatto.accounts import actions, store
from contatto.accounts.auth import api_routes, load_advertiser, may_use
from contatto.accounts.model import Access, Caller, Credential, Permission
from contatto.audit import chain_holds, count_audit_entries, list_audit_entries, read_seen
from contatto.kit.api_types import (
    Answer,
    Answered,
    ApiId,
    ApiModel,
    ChosenRows,
    IdText,
    JsonText,
    PageInfo,
    PageQuery,
    Rows,
    TextId,
    TimeText,
    api_answer,
    api_time,
    chosen,
    page_info,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.rate_limits import GuessLimit, client_network
from contatto.ui.requests import context_of, part_of

router: Final = api_routes("Accounts")


class InfoQuery(ApiModel):
    """Ids that are not of the token's business are left out; without ids all ad accounts are shown."""

    advertiser_ids: JsonText[tuple[TextId, ...]] = ()
    fields: JsonText[tuple[str, ...]] = Field((), description="The fields to show; all when none is named.")


class AdvertiserInfo(Answer, frozen=True):
    advertiser_id: IdText
    name: str
    company: str
    country: str
    currency: str
    timezone: str
    display_timezone: str
    role: Literal["ROLE_ADVERTISER"]
    status: Literal["STATUS_ENABLE"]
    create_time: Annotated[int, Meta(description="Seconds since 1970, UTC.")]


class AdvertiserList(ChosenRows[AdvertiserInfo], frozen=True):
    """The ad accounts that the token may use."""


@router.transact("/advertiser/info/", Permission.READ_ADS)
def get_advertiser_info(tx: Tx, caller: Caller, query: InfoQuery) -> AdvertiserList:
    """Show ad accounts with their registration country, currency and time zone."""
    requested_ids = set(query.advertiser_ids)
    rows = [
        AdvertiserInfo(
            advertiser_id=str(account.number),
            name=account.name,
            company=account.name,
            country=account.country,
            currency=account.currency,
            timezone=account.timezone,
            display_timezone=account.timezone,
            role="ROLE_ADVERTISER",
            status="STATUS_ENABLE",
            create_time=int(account.created_at.timestamp()),
        )
        for account in store.list_ad_accounts(tx, caller.business_id)
        if may_use(caller, account.id) and (not requested_ids or str(account.number) in requested_ids)
    ]
    return AdvertiserList(chosen(rows, query.fields))


class TokenRequest(ApiModel):
    """``app_id`` and ``secret`` are not checked: the code alone authenticates."""

    app_id: TextId
    secret: Annotated[str, Field(max_length=256)]
    auth_code: Annotated[str, Field(max_length=256)]


class TermQuery(ApiModel):
    advertiser_id: ApiId
    term_type: Literal["LeadAds"]


class AccessToken(Answer, frozen=True):
    access_token: str
    scope: list[str]
    advertiser_ids: list[IdText]


class TermState(Answer, frozen=True):
    confirmed: bool


@router.post("/oauth2/access_token/", Access(Credential.ANYBODY))
async def make_access_token(request: Request, body: TokenRequest) -> Answered[AccessToken]:
    """Exchange an auth code for an access token.

    An owner or admin makes the code in Settings. It works once, within ten minutes.
    """

    def work(tx: Tx) -> AccessToken:
        api_token, token = actions.redeem_auth_code(tx, body.auth_code)
        accounts = store.list_ad_accounts(tx, api_token.business_id)
        limits = api_token.ad_account_ids
        numbers = [str(account.number) for account in accounts if limits is None or account.id in limits]
        return AccessToken(token, list(api_token.scopes), numbers)

    redeem = partial(context_of(request).db.write, work)
    data = await part_of(request, GuessLimit).judge(client_network(request), "auth code", redeem)
    return api_answer(data, request_id_of(request))


@router.transact("/term/check/", Permission.READ_ADS)
def check_term(tx: Tx, caller: Caller, query: TermQuery) -> TermState:
    """Check whether the ad account has accepted the terms of lead ads."""
    account = load_advertiser(tx, caller, query.advertiser_id)
    return TermState(store.has_confirmed_term(tx, caller.business_id, account.id, query.term_type))


@router.transact("/term/confirm/", Permission.WRITE_ADS)
def confirm_one_term(tx: Tx, caller: Caller, body: TermQuery) -> TermState:
    """Accept the terms of lead ads for an ad account; a repetition changes nothing."""
    actions.confirm_term(tx, load_advertiser(tx, caller, body.advertiser_id), body.term_type)
    return TermState(confirmed=True)


class SeenContacts(Answer, frozen=True):
    """Contact data that a read showed: the number, and the ids of new ones."""

    kind: str
    count: int
    ids: list[str]


class AuditInfo(Answer, frozen=True):
    time: TimeText
    actor_id: str
    actor: str
    act: str
    object: str
    seen: list[SeenContacts]
    request_id: str
    digest: str


class AuditLog(Rows[AuditInfo], frozen=True):
    """A part of the log, latest first."""

    chain_holds: bool
    page_info: PageInfo


@router.transact("/contatto/audit/list/", Permission.ADMINISTER)
def list_audit_log(tx: Tx, caller: Caller, query: PageQuery) -> AuditLog:
    """Extension: list the audit log, latest first; ``chain_holds`` is true if these entries are unchanged.

    It contains every change through the API or a page, and every read of contact data. ``seen`` has the
    number of records that a read showed, and the ids that the same caller had not just read.
    """
    span = ((query.page - 1) * query.page_size, query.page_size)
    entries = list_audit_entries(tx, caller.business_id, span)
    total = count_audit_entries(tx, caller.business_id)
    rows = [
        AuditInfo(
            time=api_time(entry.at),
            actor_id=entry.actor_id,
            actor=entry.actor,
            act=entry.act,
            object=entry.object,
            seen=[SeenContacts(kind, *contacts) for kind, contacts in read_seen(entry.seen).items()],
            request_id=entry.request_id,
            digest=entry.digest,
        )
        for entry in entries
    ]
    return AuditLog(rows, chain_holds(entries[::-1]), page_info(query, total))


class AdvertiserName(Answer, frozen=True):
    advertiser_id: IdText
    advertiser_name: str


class AdvertiserNames(Rows[AdvertiserName], frozen=True):
    """The ad accounts that the token may use, by name."""


@router.transact("/oauth2/advertiser/get/", Access(Credential.PROGRAM))
def get_advertisers(tx: Tx, caller: Caller) -> AdvertiserNames:
    """List ids and names of the ad accounts that the token may use."""
    shown = [
        AdvertiserName(str(account.number), account.name)
        for account in store.list_ad_accounts(tx, caller.business_id)
        if may_use(caller, account.id)
    ]
    return AdvertiserNames(shown)
