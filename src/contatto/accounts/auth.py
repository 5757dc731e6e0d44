"""From a request to its caller: a member's session for pages, an access token for the API."""

import time
from datetime import timedelta
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import Request

from contatto.accounts import store
from contatto.accounts.model import ApiToken, Business, Caller, Member, Permission
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.errors import Refused
from contatto.kit.ids import hash_secret
from contatto.kit.limits import RateLimit
from contatto.kit.outbox import last_seq
from contatto.kit.web.language import use_language
from contatto.kit.web.sessions import check_csrf, session_token

API_HEADER: Final = "access-token"
_NOTE_USE_EVERY: Final = timedelta(minutes=5)


def member_caller(member: Member, business: Business) -> Caller:
    return Caller(
        business_id=member.business_id,
        business_name=business.name,
        subject_id=member.id,
        display_name=member.display_name,
        email=member.email,
        role=member.role,
        permissions=ROLE_PERMISSIONS[member.role],
        language=member.language,
    )


def token_caller(token: ApiToken, business: Business) -> Caller:
    return Caller(
        business_id=token.business_id,
        business_name=business.name,
        subject_id=token.id,
        display_name=token.name,
        email="",
        role=None,
        permissions=frozenset(Permission(scope) for scope in token.scopes),
    )


async def page_caller(request: Request) -> Caller:
    """The signed-in member. The request notes the last event, so that a page misses none after it.

    Raises:
        Refused: SIGN_IN.
    """
    token = session_token(request)
    if not token:
        raise Refused(errors.SIGN_IN)
    found, request.state.last_event = await context_of(request).db.read(
        lambda tx: (store.find_session_member(tx, hash_secret(token)), last_seq(tx))
    )
    if found is None:
        raise Refused(errors.SIGN_IN)
    use_language(request, found[0].language)
    return member_caller(*found)


async def form_caller(request: Request) -> Caller:
    """The signed-in member behind a state-changing request, checked for forgery.

    Raises:
        Refused: SIGN_IN, FORGED.
    """
    caller = await page_caller(request)
    await check_csrf(request, context_of(request).pages.csrf_key)
    return caller


async def api_caller(request: Request) -> Caller:
    """The owner of the ``Access-Token``.

    Raises:
        Refused: SIGN_IN without a token, BAD_TOKEN for one that is unknown or revoked, TOO_MANY.
    """
    token = request.headers.get(API_HEADER, "")
    if not token:
        raise Refused(errors.SIGN_IN, "The header Access-Token is missing.")
    return await find_token_caller(request, token)


async def find_token_caller(request: Request, token: str) -> Caller:
    """The owner of an access token, wherever it stands in a request.

    Raises:
        Refused: BAD_TOKEN, TOO_MANY.
    """
    context = context_of(request)
    found = await context.db.read(lambda tx: store.find_token(tx, hash_secret(token)))
    if found is None:
        raise Refused(errors.BAD_TOKEN)
    check_request_rate(request, found[0].id)
    used = found[0].last_used_at
    limit = context.clock.now() - _NOTE_USE_EVERY
    if used is None or used < limit:
        await context.db.write(lambda tx: store.mark_token_used(tx, found[0].id, limit))
    return token_caller(*found)


def check_request_rate(request: Request, key: str) -> None:
    """Count a request of a token or an app, in this process.

    Raises:
        Refused: TOO_MANY.
    """
    most = context_of(request).settings.api_requests_per_minute
    if not most:
        return
    state = request.app.state
    if not hasattr(state, "token_rates"):
        state.token_rates = RateLimit(most=most, span_s=60)
    state.token_rates.check(key, time.monotonic())


PageCaller = Annotated[Caller, Depends(page_caller)]
FormCaller = Annotated[Caller, Depends(form_caller)]
ApiCaller = Annotated[Caller, Depends(api_caller)]
