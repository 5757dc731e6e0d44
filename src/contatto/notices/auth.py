"""From a request to the program behind it: an access token, or the id and the secret of an app."""

from typing import Final

from starlette.requests import Request

from contatto.accounts.auth import API_HEADER, check_request_rate, find_token_caller, note_caller
from contatto.accounts.model import BusinessId, Caller, Permission
from contatto.accounts.store import find_business
from contatto.channels.model import ChannelApp
from contatto.channels.store import find_app
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.db.row_security import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.notices import rules

APP_PERMISSIONS: Final = frozenset({Permission.READ_LEADS, Permission.READ_INBOX})
"""What an app's own secret allows: to say where its pushes go."""


async def app_caller(request: Request, app_id: str, secret: str, token: str = "") -> Caller:
    """Whoever holds an app's secret, or an access token (of the header, or of the body).

    Such calls need no header; with one, its scopes count. An app that is registered must come with its
    secret; without a token it speaks for the business that registered it.

    Raises:
        Refused: SIGN_IN when neither is there, BAD_TOKEN, WRONG_APP, TOO_MANY.
    """
    given = request.headers.get(API_HEADER, "") or token
    app = await context_of(request).db.read(lambda tx: find_app(tx, app_id))
    if not given:
        if app is None:
            says = "The header Access-Token is missing, and no app of this app_id is registered here."
            raise Refused(errors.SIGN_IN, says)
        check_request_rate(request, f"app:{app_id}")
        rules.check_app(app_id, secret, app.secret)
        act_for(app.business_id)
        return await note_caller(request, await _caller_of_app(request, app))
    caller = await find_token_caller(request, given)
    rules.check_app(app_id, secret, app.secret if app else None)
    return caller


async def _caller_of_app(request: Request, app: ChannelApp) -> Caller:
    def look(tx: Tx) -> str:
        business = find_business(tx, BusinessId(app.business_id))
        return business.name if business else ""

    name = await context_of(request).db.read(look)
    return Caller(BusinessId(app.business_id), name, app.app_id, app.app_id, "", None, APP_PERMISSIONS)
