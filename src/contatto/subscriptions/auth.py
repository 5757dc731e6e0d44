"""From a request to the program behind it: an access token, or the id and the secret of an app."""

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
from contatto.kit.db.row_security import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.limits import GuessLimit, client_network
from contatto.subscriptions import rules
from contatto.ui.context import context_of, part_of

APP_PERMISSIONS: Final = frozenset({Permission.READ_LEADS, Permission.READ_INBOX})
"""What an app's own secret allows: to say where its pushes go."""


async def app_caller(request: Request, app_id: str, secret: str, token: str = "") -> Caller:
    """Whoever holds an app's secret, or an access token (of the header, or of the body).

    Such calls need no header; with one, its scopes count. An app that the business has registered must come
    with its secret; without a token it speaks for the business that registered it with this secret.

    Raises:
        Refused: WRONG_APP, BAD_TOKEN, TOO_MANY; SIGN_IN, when several businesses have this app.
    """
    given = request.headers.get(API_HEADER, "") or token
    if not given:
        app = await part_of(request, GuessLimit).judge(
            client_network(request), app_id, partial(_app_of_secret, request, app_id, secret)
        )
        # Only who has the secret uses up what the app may ask.
        check_request_rate(request, f"app:{app.business_id}:{app_id}")
        act_for(app.business_id)
        return await note_caller(request, await _caller_of_app(request, app))
    caller = await find_token_caller(request, given)
    own = await context_of(request).db.read(lambda tx: find_app(tx, caller.business_id, app_id))
    rules.check_app(app_id, secret, own.secret if own else None)
    return caller


async def _app_of_secret(request: Request, app_id: str, secret: str) -> ChannelApp:
    """The app whose secret this is; whether any business has an app of this id shows in no answer.

    Raises:
        Refused: WRONG_APP; SIGN_IN, when several businesses have this app.
    """
    named = await context_of(request).db.read(lambda tx: list_apps_named(tx, app_id))
    found = apps_of_secret(named, secret)
    if not found:
        raise Refused(errors.WRONG_APP)
    if len(found) > 1:
        raise Refused(errors.SIGN_IN, "Several businesses have this app: send the header Access-Token too.")
    return found[0]


async def _caller_of_app(request: Request, app: ChannelApp) -> Caller:
    def look(tx: Tx) -> str:
        business = find_business(tx, BusinessId(app.business_id))
        return business.name if business else ""

    name = await context_of(request).db.read(look)
    return Caller(BusinessId(app.business_id), name, app.app_id, app.app_id, "", None, APP_PERMISSIONS)
