"""Who is at the other end of our chat page: the account of its address, and the visitor of its token."""

from typing import Final

from starlette.requests import Request

from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import find_public_account
from contatto.kit import errors
from contatto.kit.context import context_of
from contatto.kit.errors import Refused
from contatto.kit.web.visitor import VISITOR_KEY, open_visitor, read_visitor

VISITOR_QUERY: Final = "v"
"""Where a page inside another site names its visitor."""


async def chat_visitor(request: Request) -> tuple[ChannelAccount, str]:
    """The channel account of a chat page, and the visitor who has it open.

    Raises:
        Refused: NOT_FOUND; SIGN_IN for somebody who has not opened the page.
    """
    context = context_of(request)
    account_id = request.path_params["account_id"]
    account = await context.db.read(lambda tx: find_public_account(tx, account_id))
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "There is no such chat.")
    key = context.vault.signing_key(VISITOR_KEY)
    visitor = open_visitor(request.query_params.get(VISITOR_QUERY, ""), key) or read_visitor(request, key)
    if visitor is None:
        raise Refused(errors.SIGN_IN, "Open the chat page first; it tells us who you are.")
    return account, visitor
