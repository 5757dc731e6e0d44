"""Replies of the business, and their way to the platform.

A reply, its send and the request to the platform are committed together; ``kit/outbound`` carries it out.
Temporary trouble waits longer each time. When the answer was lost, the platform may have taken the message,
so it is not sent again by itself: the platform's own news settle it, or a person does.
"""

from collections.abc import Mapping
from typing import Final

from contatto.channels import store as channel_store
from contatto.channels.model import (
    LOST_ACCESS,
    ChannelAccount,
    ChannelLost,
    Chatted,
    MessageKind,
    NotNow,
    NotTaken,
    Outgoing,
    Platform,
    Progressed,
    SendProgress,
)
from contatto.channels.registry import CONNECTORS
from contatto.channels.rules import WindowState, may_use_message_api, window_state
from contatto.inbox import rules
from contatto.inbox.actions.threads import conversation_to_change, message_id_of
from contatto.inbox.model import (
    REPLY,
    Conversation,
    Message,
    MessageSent,
    ReplyProgressed,
    Send,
    SendState,
    ThreadState,
)
from contatto.inbox.store import conversations, messages, persons, sends
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.exchange import HttpAnswer, HttpRequest
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.dead_letters import send_again
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    NewRequest,
    OutboundRequest,
    Outcome,
    RequestState,
    RetryPlan,
    Step,
)
from contatto.kit.outbound.store import mark_requests_done, queue_request
from contatto.kit.outbox import emit

PLAN: Final = RetryPlan(rules.RETRY_AFTER_S)
"""A reply has no lifetime of its own: the time to answer ends it."""


def send_reply(tx: Tx, business_id: str, conversation_id: str, reply: Message) -> Message:
    """Store a reply of the business, and its send where a platform has to be given it.

    Raises:
        Refused: NOT_FOUND; INVALID for an empty or too long text; CANNOT_SEND, with the reason.
    """
    conversation = conversation_to_change(tx, business_id, conversation_id)
    if messages.find_message(tx, business_id, reply.id) is not None:
        return messages.find_message(tx, business_id, reply.id) or reply
    account = channel_store.find_account(tx, business_id, conversation.channel_account_id)
    if account is None:
        raise Refused(errors.NOT_FOUND)
    _check_content(account, reply)
    _check_window(tx, account, conversation)
    messages.append_message(tx, business_id, reply)
    conversations.record_message_time(tx, conversation, reply.at, from_customer=False)
    if CONNECTORS[account.platform].dialect.base_url:
        sends.append_send(tx, _new_send(account, reply))
        queue_request(tx, _request_of(account, reply.id, conversation_id), PLAN)
    emit(tx, business_id, MessageSent(business_id, conversation_id, reply.id))
    return messages.find_message(tx, business_id, reply.id) or reply


def _check_content(account: ChannelAccount, reply: Message) -> None:
    dialect = CONNECTORS[account.platform].dialect
    if reply.photo and not dialect.takes_photos:
        raise Refused(errors.CANNOT_SEND, "Photos are sent in the app of this channel.")
    if len(reply.text) > dialect.text_limit or not (reply.photo or reply.text.strip()):
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=dialect.text_limit)


def _new_send(account: ChannelAccount, reply: Message) -> Send:
    return Send(
        id=0,
        business_id=account.business_id,
        message_id=reply.id,
        conversation_id=reply.conversation_id,
        channel_account_id=account.id,
        state=SendState.DUE,
        external_ref=None,
        reason=None,
    )


def _request_of(account: ChannelAccount, message_id: str, conversation_id: str) -> NewRequest:
    """Replies of one conversation are a line: they go out in their order."""
    return NewRequest(account.business_id, REPLY, message_id, account.platform.value, line=conversation_id)


def load_window(tx: Tx, account: ChannelAccount, conversation: Conversation) -> WindowState:
    """Whether the business may write to this person now, and for how long."""
    dialect = CONNECTORS[account.platform].dialect
    if conversation.state is ThreadState.BLOCKED:
        return WindowState(is_open=False, reason="blocked")
    if not dialect.base_url:
        return WindowState(is_open=True)
    if not may_use_message_api(account):
        return WindowState(is_open=False, reason="region_closed")
    if account.id not in channel_store.list_token_dates(tx, account.business_id):
        return WindowState(is_open=False, reason="no_token")
    last, sent = sends.load_reply_facts(tx, account.business_id, conversation.id)
    return window_state(dialect.window, last, sent, tx.now)


def _check_window(tx: Tx, account: ChannelAccount, conversation: Conversation) -> None:
    window = load_window(tx, account, conversation)
    if not window.is_open:
        code = errors.TOO_FAST if window.reason == "window_used_up" else errors.CANNOT_SEND
        said = rules.stop_text(window.reason or "cannot_send")
        raise Refused(code, said.text, **said.values)


def retry_reply(tx: Tx, business_id: str, conversation_id: str, message_id: str) -> None:
    """Send a reply again that was turned down, or whose answer was lost.

    Raises:
        Refused: NOT_FOUND; CANNOT_SEND, with the reason; CONFLICT when it did not fail (any more).
    """
    conversation_to_change(tx, business_id, conversation_id)
    send = sends.find_send(tx, business_id, message_id)
    if send is None or send.conversation_id != conversation_id:
        raise Refused(errors.NOT_FOUND)
    account = ready_reply(tx, business_id, message_id)
    send_again(tx, _request_of(account, message_id, conversation_id), PLAN)


def ready_reply(tx: Tx, business_id: str, message_id: str) -> ChannelAccount:
    """Make a reply ready to be sent again, if the platform still allows it.

    Raises:
        Refused: NOT_FOUND; CANNOT_SEND, with the reason; CONFLICT when it did not fail (any more).
    """
    send = sends.find_send(tx, business_id, message_id)
    if send is None:
        raise Refused(errors.NOT_FOUND)
    conversation = conversation_to_change(tx, business_id, send.conversation_id)
    account = channel_store.find_account(tx, business_id, send.channel_account_id)
    if account is None:
        raise Refused(errors.NOT_FOUND)
    _check_window(tx, account, conversation)
    if not sends.record_retry(tx, send):
        raise Refused(errors.CONFLICT, "This message is being sent, or was already delivered.")
    _tell(tx, send)
    return account


def reply_kind(platform_urls: Mapping[Platform, str]) -> OutboundKind:
    """How replies are given to their platforms."""
    return OutboundKind(
        REPLY,
        begin=lambda tx, request: begin_reply(tx, request, platform_urls),
        read=read_reply_answer,
        settle=settle_reply,
        plan=PLAN,
        replay=_ready,
    )


def _ready(tx: Tx, request: OutboundRequest) -> None:
    ready_reply(tx, request.business_id, request.subject)


def begin_reply(tx: Tx, request: OutboundRequest, platform_urls: Mapping[Platform, str]) -> Step:
    """What is sent to the platform, or why nothing is."""
    send = sends.find_send(tx, request.business_id, request.subject)
    if send is None or send.state is not SendState.DUE:  # erased, or settled by the platform's news
        return Done()
    made = _make_request(tx, send, platform_urls)
    return Failed(made) if isinstance(made, str) else Ask(made, is_repeatable=False)


def _make_request(tx: Tx, send: Send, platform_urls: Mapping[Platform, str]) -> HttpRequest | str:
    """The request of a send, or the reason why there is none."""
    account = channel_store.find_account(tx, send.business_id, send.channel_account_id)
    conversation = conversations.find_conversation(tx, send.business_id, send.conversation_id)
    message = messages.find_message(tx, send.business_id, send.message_id)
    token = channel_store.find_token(tx, send.business_id, send.channel_account_id)
    if account is None or conversation is None or message is None:
        return "cannot_send"
    if token is None:
        return "no_token"
    last, _ = sends.load_reply_facts(tx, send.business_id, send.conversation_id)
    connector = CONNECTORS[account.platform]
    window = window_state(connector.dialect.window, last, 0, tx.now)
    if not window.is_open:
        return window.reason or "window_closed"
    person = persons.load_person(tx, send.business_id, conversation.person_id)
    address = persons.find_address(tx, send.business_id, person.id)
    out = Outgoing(
        base_url=platform_urls.get(account.platform, connector.dialect.base_url).rstrip("/"),
        account=account.external_id,
        access_token=token,
        conversation_id=address or conversation.external_id,
        person_id=address or person.external_id,
        text=message.text,
        message_id=message.id,
    )
    return connector.reply(out)


def read_reply_answer(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    """What the platform's answer means; a reply that was taken is sent."""
    send = sends.find_send(tx, request.business_id, request.subject)
    account = channel_store.find_account(tx, send.business_id, send.channel_account_id) if send else None
    if send is None or account is None:
        return Done()
    outcome = CONNECTORS[account.platform].outcome(answer)
    if isinstance(outcome, NotTaken):
        return Failed(outcome.reason)
    if isinstance(outcome, NotNow):
        return outbound.NotNow(outcome.reason, outcome.after_s)
    if outcome.message_id:
        sends.record_external_ref(tx, send, message_id_of(account, outcome.message_id))
    sends.record_send(tx, send, SendState.SENT)
    _tell(tx, send)
    return Done()


def settle_reply(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Show in the thread what came of a try that brought nothing."""
    send = sends.find_send(tx, request.business_id, request.subject)
    if send is None or not isinstance(outcome, outbound.NotNow | Failed):
        return
    if isinstance(outcome, Failed):
        sends.record_send(tx, send, SendState.FAILED, reason=outcome.reason)
        if outcome.reason == LOST_ACCESS:
            emit(tx, send.business_id, ChannelLost(send.business_id, send.channel_account_id))
    else:
        shown = SendState.DUE if state is RequestState.DUE else SendState.DEAD
        sends.record_send(tx, send, shown, reason=outcome.reason)
    _tell(tx, send)


def _tell(tx: Tx, send: Send) -> None:
    emit(tx, send.business_id, ReplyProgressed(send.business_id, send.conversation_id, send.message_id))


def settle_echo(tx: Tx, account: ChannelAccount, conversation: Conversation, chatted: Chatted) -> bool:
    """Whether a message of the business, told by the platform, is a reply that was sent from here.

    It is known by our own id, by the platform's id, or, while an answer is out or lost, by its text.
    """
    ref = message_id_of(account, chatted.message_id)
    send = sends.find_send_by_ref(tx, account.business_id, ref)
    if send is None and chatted.echo_of:
        send = sends.find_send(tx, account.business_id, chatted.echo_of)
    if send is None and chatted.kind is MessageKind.TEXT:
        send = _unsure_send(tx, conversation, chatted.text)
    if send is None or send.channel_account_id != account.id:
        return False
    sends.record_external_ref(tx, send, ref)
    mark_requests_done(tx, send.business_id, REPLY, send.message_id)
    if sends.record_send(tx, send, SendState.SENT):
        _tell(tx, send)
    return True


def _unsure_send(tx: Tx, conversation: Conversation, text: str) -> Send | None:
    for send in sends.list_unsure_sends(tx, conversation.business_id, conversation.id):
        message = messages.find_message(tx, conversation.business_id, send.message_id)
        if message is not None and message.text == text:
            return send
    return None


def settle_progress(tx: Tx, account: ChannelAccount, news: Progressed) -> bool:
    """Note how far a reply has come; False when it was not sent from here."""
    send = sends.find_send_by_ref(tx, account.business_id, message_id_of(account, news.message_id))
    if send is None and news.echo_of:
        send = sends.find_send(tx, account.business_id, news.echo_of)
    if send is None or send.channel_account_id != account.id:
        return False
    mark_requests_done(tx, send.business_id, REPLY, send.message_id)
    if news.progress is SendProgress.DELIVERED:
        changed = sends.record_delivered(tx, send)
    elif news.progress is SendProgress.FAILED:
        changed = sends.record_refusal(tx, send, news.reason or "person_not_reached")
    else:
        changed = sends.record_send(tx, send, SendState.SENT)
    if changed:
        _tell(tx, send)
    return True
