"""API of ad accounts, access tokens, accepted terms, and the audit log."""

from functools import partial
from typing import Annotated, Final, Literal

from fastapi import Request
from msgspec import Meta
from pydantic import Field

from contatto.accounts import actions, store
from contatto.accounts.auth import ApiCaller, api_routes, load_advertiser, may_use
from contatto.accounts.model import Access, AdAccount, Credential, Permission
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
    describe_query,
    page_info,
    read_query,
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


@router.get("/advertiser/info/", Permission.READ_ADS, openapi_extra=describe_query(InfoQuery))
async def get_advertiser_info(request: Request, caller: ApiCaller) -> Answered[AdvertiserList]:
    """Show ad accounts with their registration country, currency and time zone."""
    query = read_query(request, InfoQuery)
    requested_ids = set(query.advertiser_ids)
    all_accounts = await context_of(request).db.read(
        lambda tx: store.list_ad_accounts(tx, caller.business_id)
    )
    accounts = [account for account in all_accounts if may_use(caller, account.id)]
    rows = [
        _shown(account) for account in accounts if not requested_ids or str(account.number) in requested_ids
    ]
    return api_answer(AdvertiserList(chosen(rows, query.fields)), request_id_of(request))


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


@router.get("/term/check/", Permission.READ_ADS, openapi_extra=describe_query(TermQuery))
async def check_term(request: Request, caller: ApiCaller) -> Answered[TermState]:
    """Check whether the ad account has accepted the terms of lead ads."""
    query = read_query(request, TermQuery)

    def work(tx: Tx) -> TermState:
        account = load_advertiser(tx, caller, query.advertiser_id)
        return TermState(store.has_confirmed_term(tx, caller.business_id, account.id, query.term_type))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@router.post("/term/confirm/", Permission.WRITE_ADS)
async def confirm_one_term(request: Request, caller: ApiCaller, body: TermQuery) -> Answered[TermState]:
    """Accept the terms of lead ads for an ad account; a repetition changes nothing."""

    def work(tx: Tx) -> None:
        account = load_advertiser(tx, caller, body.advertiser_id)
        actions.confirm_term(tx, account, body.term_type)

    await context_of(request).db.write(work)
    return api_answer(TermState(confirmed=True), request_id_of(request))


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


@router.get("/contatto/audit/list/", Permission.ADMINISTER, openapi_extra=describe_query(PageQuery))
async def list_audit_log(request: Request, caller: ApiCaller) -> Answered[AuditLog]:
    """Extension: list the audit log, latest first; ``chain_holds`` is true if these entries are unchanged.

    It contains every change through the API or a page, and every read of contact data. ``seen`` has the
    number of records that a read showed, and the ids that the same caller had not just read.
    """
    query = read_query(request, PageQuery)

    def work(tx: Tx) -> AuditLog:
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

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


class AdvertiserName(Answer, frozen=True):
    advertiser_id: IdText
    advertiser_name: str


class AdvertiserNames(Rows[AdvertiserName], frozen=True):
    """The ad accounts that the token may use, by name."""


@router.get("/oauth2/advertiser/get/", Access(Credential.PROGRAM))
async def get_advertisers(request: Request, caller: ApiCaller) -> Answered[AdvertiserNames]:
    """List ids and names of the ad accounts that the token may use."""
    accounts = await context_of(request).db.read(lambda tx: store.list_ad_accounts(tx, caller.business_id))
    shown = [
        AdvertiserName(str(account.number), account.name)
        for account in accounts
        if may_use(caller, account.id)
    ]
    return api_answer(AdvertiserNames(shown), request_id_of(request))


def _shown(account: AdAccount) -> AdvertiserInfo:
    return AdvertiserInfo(
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
