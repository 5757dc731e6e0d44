"""Authentication of programs: an access token, or the id and secret of an app."""

from functools import partial
from typing import Final

from starlette.requests import Request

from contatto.accounts.auth import API_HEADER, check_request_rate, find_token_caller, note_caller
from contatto.accounts.model import BusinessId, Caller, Permission
from contatto.accounts.store import find_business
from contatto.channels.model import ChannelApp
from contatto.channels.rules import apps_of_secret
from contatto.channels.store import find_app, list_apps_named
from contatto.kit import errors
from contatto.kit.db.database import act_for
from contatto.kit.errors import Refused
from contatto.kit.rate_limits import GuessLimit, client_network
from contatto.subscriptions import rules
from contatto.ui.context import context_of, part_of

APP_PERMISSIONS: Final = frozenset({Permission.READ_LEADS, Permission.READ_INBOX})
"""Permissions of an app's own secret: to set the addresses of its pushes."""


async def app_caller(request: Request, app_id: str, secret: str, token: str = "") -> Caller:
    """Authenticate a program by an app's secret, or by an access token of the header or body.

    The scopes of a token apply. An app that the business registered must send its secret; without a token
    it acts for the business that registered it with this secret.

    Raises:
        Refused: WRONG_APP, BAD_TOKEN, TOO_MANY; SIGN_IN, when several businesses have this app.
    """
    access_token = request.headers.get(API_HEADER, "") or token
    if not access_token:
        app = await part_of(request, GuessLimit).judge(
            client_network(request), app_id, partial(_app_of_secret, request, app_id, secret)
        )
        # Only a caller with the secret counts towards the app's rate limit.
        check_request_rate(request, f"app:{app.business_id}:{app_id}")
        act_for(app.business_id)
        business_id = BusinessId(app.business_id)
        business = await context_of(request).db.read(lambda tx: find_business(tx, business_id))
        name = business.name if business else ""
        caller = Caller(business_id, name, app.app_id, app.app_id, "", None, APP_PERMISSIONS)
        return await note_caller(request, caller)
    caller = await find_token_caller(request, access_token)
    own = await context_of(request).db.read(lambda tx: find_app(tx, caller.business_id, app_id))
    rules.check_app(app_id, secret, own.secret if own else None)
    return caller


async def _app_of_secret(request: Request, app_id: str, secret: str) -> ChannelApp:
    """Return the app with this secret; errors do not reveal whether an app of this id exists.

    Raises:
        Refused: WRONG_APP; SIGN_IN, when several businesses have this app.
    """
    named = await context_of(request).db.read(lambda tx: list_apps_named(tx, app_id))
    apps = apps_of_secret(named, secret)
    if not apps:
        raise Refused(errors.WRONG_APP)
    if len(apps) > 1:
        raise Refused(errors.SIGN_IN, "Several businesses have this app: send the header Access-Token too.")
    return apps[0]
