"""Visitors of the chat page: authentication and rate limits."""

from datetime import timedelta
from typing import Final

from starlette.requests import Request

from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import AccountBatcher
from contatto.inbox.store.conversations import find_conversation
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.rate_limits import RateLimit, SharedLimit, client_network
from contatto.ui.render import VISITOR_KEY, Carrier, open_visitor, public_id, read_visitor
from contatto.ui.requests import context_of, part_of

MOST_AT_ONCE: Final = 500
"""Burst of new visitors from one network, such as people who saw an ad in the same minutes."""
MOST_A_MINUTE: Final = 600
"""Messages, photos, forms, "typing" and "read" of one network to one chat in a minute."""


def limit_newcomers(most_per_hour: int) -> SharedLimit:
    """Limit the new people of a network who may write to an account."""
    says = N_("Too many new people write from your network at the moment.")
    burst = min(most_per_hour, MOST_AT_ONCE)
    return SharedLimit("new visitors", most_per_hour, timedelta(hours=1), says, burst)


class ChatLimits:
    """Rate limits of the chat page, counted in memory.

    ``networks`` limits everything from one network to one chat, ``photos_of_network`` its photos to all
    chats. The others limit one visitor or form link, ``signs`` their "typing" and "read". Many people of a
    company or a carrier may share a network, so its limits are higher.
    """

    def __init__(self) -> None:
        self.networks = RateLimit(most=MOST_A_MINUTE, span_s=60)
        self.messages = RateLimit(most=40, span_s=60)
        self.photos = RateLimit(most=12, span_s=60)
        self.photos_of_network = RateLimit(most=60, span_s=60)
        self.signs = RateLimit(most=60, span_s=60)
        self.forms = RateLimit(most=20, span_s=600)
        self.linked_forms = RateLimit(most=20, span_s=600)


VISITOR_QUERY: Final = "v"
"""Query parameter with the visitor of a chat page that another site embeds."""


async def chat_visitor(request: Request) -> tuple[ChannelAccount, str]:
    """Return the channel account of a chat page, and the public id of the visitor who has it open.

    A visitor in the query counts instead of the cookie, even if invalid.

    Raises Refused: NOT_FOUND; SIGN_IN for somebody who has not opened the page.
    """
    context = context_of(request)
    account_id = request.path_params["account_id"]
    account = await part_of(request, AccountBatcher).submit(account_id)
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "Chat not found.")
    signer = context.vault.signer(VISITOR_KEY)
    frame_token = request.query_params.get(VISITOR_QUERY)
    if frame_token is None:
        secret = read_visitor(request, account.id, signer)
    else:
        secret = open_visitor(frame_token, account.id, Carrier.FRAME, signer)
    if secret is None:
        raise Refused(errors.SIGN_IN, "Open the chat page first.")
    return account, public_id(secret, account.id, context.vault.derivation_key(VISITOR_KEY))


def admit_sender(request: Request, account: ChannelAccount) -> None:
    """Count what a visitor sends against their network. Raises TOO_MANY, with the seconds to wait."""
    now_s = context_of(request).clock.now().timestamp()
    part_of(request, ChatLimits).networks.check(f"{account.id}:{client_network(request)}", now_s)


def admit_newcomer(tx: Tx, request: Request, account: ChannelAccount, conversation_id: str) -> None:
    """Count a newcomer's first submission, with a stricter limit that all processes share.

    A new identity costs nothing, so a limit for each visitor would not stop a flood.

    Raises Refused: TOO_MANY, with the seconds to wait.
    """
    most = context_of(request).settings.new_visitors_per_hour
    if most and find_conversation(tx, account.business_id, conversation_id) is None:
        limit_newcomers(most).take(tx, f"{account.id}:{client_network(request)}")
