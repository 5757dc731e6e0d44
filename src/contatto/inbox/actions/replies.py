"""Replies, scheduled and automatic messages, and webhooks about messages."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from contatto.accounts.model import BusinessId
from contatto.accounts.store import list_ad_accounts
from contatto.channels import model as channels
from contatto.channels import store as channel_store
from contatto.channels.rules import WindowState, may_use_message_api, window_state
from contatto.channels.store import CONNECTORS, find_account
from contatto.inbox import model, rules
from contatto.inbox.actions import incoming, threads
from contatto.inbox.actions.incoming import emit_progress
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.conversations import Move
from contatto.inbox.store.desk import automatic_messages, load_automatic
from contatto.kit import errors
from contatto.kit.db.tx import Tx, in_time, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.fair_queue import Turns
from contatto.kit.ids import named_id
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.queue import queue_request, send_again
from contatto.kit.outbox import emit
from contatto.kit.values import is_unreadable, micros
from contatto.leads.model import Actor
from contatto.measurement.rules import natural_number
from contatto.measurement.store import find_measured_ad_by_number
from contatto.subscriptions.actions import queue_push
from contatto.subscriptions.model import Entity
from contatto.subscriptions.rules import message_payload
from contatto.subscriptions.store import list_subscriptions

PLAN: Final = outbound.RetryPlan(rules.RETRY_AFTER_S)
"""Retries of a reply; the platform's reply window ends them."""


def send_reply(tx: Tx, business_id: str, conversation_id: str, reply: model.Message) -> model.Message:
    """Store a reply of the business; where the channel has a platform, queue the request to it.

    Raises Refused: NOT_FOUND; INVALID for an empty or too long text; CANNOT_SEND, with the reason.
    """
    conversation = threads.conversation_to_change(tx, business_id, conversation_id)
    sent = messages.find_message(tx, business_id, reply.id)
    if sent is not None:
        return sent
    account = check_found(channel_store.find_account(tx, business_id, conversation.channel_account_id))
    dialect = CONNECTORS[account.platform].dialect
    if reply.photo and not dialect.takes_photos:
        raise Refused(errors.CANNOT_SEND, "Photos are sent in the app of this channel.")
    if len(reply.text) > dialect.text_limit or not (reply.photo or reply.text.strip()):
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=dialect.text_limit)
    _check_window(tx, account, conversation)
    conversations.append_messages(tx, [(business_id, reply)])
    conversations.record_moves(tx, [Move(conversation, reply.at, from_customer=False)])
    if CONNECTORS[account.platform].dialect.base_url:
        row = {
            "business_id": business_id,
            "message_id": reply.id,
            "conversation_id": conversation_id,
            "channel_account_id": account.id,
            "state": model.SendState.DUE,
            "changed_at": tx.now,
        }
        tx.insert_ignore(messages.sends, row)
        # Requests of one ``line`` keep the order of the replies of a conversation.
        request = outbound.NewRequest(
            business_id, model.REPLY, reply.id, account.platform.value, line=conversation_id
        )
        queue_request(tx, request, PLAN)
    emit(tx, business_id, model.MessageSent(business_id, conversation_id, reply.id))
    return messages.find_message(tx, business_id, reply.id) or reply


def load_window(tx: Tx, account: channels.ChannelAccount, conversation: model.Conversation) -> WindowState:
    """Return whether the business may write to this person now, and for how long."""
    dialect = CONNECTORS[account.platform].dialect
    if conversation.state is model.ThreadState.BLOCKED:
        return WindowState(is_open=False, reason="blocked")
    if not dialect.base_url:
        return WindowState(is_open=True)
    if not may_use_message_api(account):
        return WindowState(is_open=False, reason="region_closed")
    if account.id not in channel_store.list_token_checks(tx, account.business_id):
        return WindowState(is_open=False, reason="no_token")
    last, sent = messages.load_reply_facts(tx, account.business_id, conversation.id)
    return window_state(dialect.window, last, sent, tx.now)


def _check_window(tx: Tx, account: channels.ChannelAccount, conversation: model.Conversation) -> None:
    window = load_window(tx, account, conversation)
    if not window.is_open:
        code = errors.TOO_FAST if window.reason == "window_used_up" else errors.CANNOT_SEND
        text = rules.stop_text(window.reason or "cannot_send")
        raise Refused(code, text.text, **text.values)


def retry_reply(tx: Tx, business_id: str, conversation_id: str, message_id: str) -> None:
    """Send a reply again. Raises NOT_FOUND; CANNOT_SEND, with the reason; CONFLICT without a failure."""
    send = messages.find_send(tx, business_id, message_id=message_id)
    if send is None or send.conversation_id != conversation_id:
        raise Refused(errors.NOT_FOUND)
    account = ready_reply(tx, business_id, message_id)
    request = outbound.NewRequest(
        business_id, model.REPLY, message_id, account.platform.value, line=conversation_id
    )
    send_again(tx, request, PLAN)


def ready_reply(tx: Tx, business_id: str, message_id: str) -> channels.ChannelAccount:
    """Make a reply due again, if the platform still allows it. Raises as `retry_reply` does."""
    send = check_found(messages.find_send(tx, business_id, message_id=message_id))
    conversation = threads.conversation_to_change(tx, business_id, send.conversation_id)
    account = check_found(channel_store.find_account(tx, business_id, send.channel_account_id))
    _check_window(tx, account, conversation)
    if not messages.record_send(tx, send, model.SendState.DUE, expected=messages.STOPPED):
        raise Refused(errors.CONFLICT, "This message is being sent, or was already delivered.")
    emit_progress(tx, send)
    return account


def begin_reply(
    tx: Tx, request: outbound.OutboundRequest, platform_urls: Mapping[channels.Platform, str]
) -> outbound.Step:
    """Make the platform's request, or return why none is sent; ``platform_urls`` replace API addresses."""
    send = messages.find_send(tx, request.business_id, message_id=request.subject)
    if (
        send is None or send.state is not model.SendState.DUE
    ):  # erased, or settled by a status of the platform
        return outbound.Done()
    account = channel_store.find_account(tx, send.business_id, send.channel_account_id)
    conversation = conversations.find_conversation(tx, send.business_id, send.conversation_id)
    message = messages.find_message(tx, send.business_id, send.message_id)
    token = channel_store.find_token(tx, send.business_id, send.channel_account_id)
    if account is None or conversation is None or message is None:
        return outbound.Failed("cannot_send")
    if token is None:
        return outbound.Failed("no_token")
    if is_unreadable(message.text):
        return outbound.Failed("broken")
    last, _ = messages.load_reply_facts(tx, send.business_id, send.conversation_id)
    connector = CONNECTORS[account.platform]
    # `send_reply` has checked the number of replies.
    window = window_state(connector.dialect.window, last, 0, tx.now)
    if not window.is_open:
        return outbound.Failed(window.reason or "window_closed")
    person = conversations.load_person(tx, send.business_id, conversation.person_id)
    out = channels.Outgoing(
        base_url=platform_urls.get(account.platform, connector.dialect.base_url).rstrip("/"),
        account=account.external_id,
        access_token=token,
        conversation_id=person.address or conversation.external_id,
        person_id=person.address or person.external_id,
        text=message.text,
        message_id=message.id,
    )
    return outbound.Ask(connector.reply(out), is_repeatable=False)


def read_reply_answer(
    tx: Tx, request: outbound.OutboundRequest, answer: outbound.HttpAnswer
) -> outbound.Step:
    """Settle a reply by the platform's answer; an accepted one is sent."""
    send = messages.find_send(tx, request.business_id, message_id=request.subject)
    account = channel_store.find_account(tx, send.business_id, send.channel_account_id) if send else None
    if send is None or account is None:
        return outbound.Done()
    outcome = CONNECTORS[account.platform].outcome(answer)
    if isinstance(outcome, outbound.Failed | outbound.NotNow):
        return outcome
    if outcome.message_id:
        external_ref = incoming.message_id_of(account, outcome.message_id)
        tx.change(messages.sends, send.business_id, send.id, external_ref=external_ref)
    messages.record_send(tx, send, model.SendState.SENT)
    emit_progress(tx, send)
    return outbound.Done()


def settle_reply(
    tx: Tx, request: outbound.OutboundRequest, outcome: outbound.Outcome, state: outbound.RequestState
) -> None:
    """Show the result of a failed attempt in the thread."""
    send = messages.find_send(tx, request.business_id, message_id=request.subject)
    if send is None or not isinstance(outcome, outbound.NotNow | outbound.Failed):
        return
    if isinstance(outcome, outbound.Failed):
        messages.record_send(tx, send, model.SendState.FAILED, outcome.reason)
        if outcome.reason == channels.LOST_ACCESS:
            emit(tx, send.business_id, channels.ChannelLost(send.business_id, send.channel_account_id))
    else:
        shown = model.SendState.DUE if state is outbound.RequestState.DUE else model.SendState.DEAD
        messages.record_send(tx, send, shown, outcome.reason)
    emit_progress(tx, send)


def schedule_reply(
    tx: Tx, actor: Actor, conversation_id: str, reply_id: str, text: str, due_at: datetime
) -> None:
    """Schedule a reply, once for each id. Raises NOT_FOUND; INVALID for a time or text beyond the limits."""
    # The platform's window is checked at the time of sending.
    threads.conversation_to_change(tx, actor.business_id, conversation_id)
    if not tx.now < due_at <= tx.now + rules.SCHEDULE_WITHIN:
        raise Refused(
            errors.INVALID, "at: choose a time in the next %(most)s days.", most=rules.SCHEDULE_WITHIN.days
        )
    if not 0 < len(text.strip()) <= rules.TEXT_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=rules.TEXT_LIMIT)
    tx.hold_key("scheduled replies", conversation_id)
    if len(messages.list_scheduled(tx, actor.business_id, conversation_id)) >= rules.MOST_SCHEDULED:
        raise Refused(
            errors.INVALID, "text: %(most)s replies are already scheduled.", most=rules.MOST_SCHEDULED
        )
    reply = model.ScheduledReply(
        reply_id,
        actor.business_id,
        conversation_id,
        text.strip(),
        actor.name,
        due_at,
        model.ScheduleState.DUE,
        None,
    )
    # The column of the sealed text is the body.
    row = row_of(reply, without={"text"})
    row["body"] = tx.vault.seal(reply.text, reply.business_id, "scheduled_replies.body", reply.id)
    if tx.insert_ignore(messages.scheduled_replies, row):
        threads.emit_change(tx, reply.business_id, conversation_id)


def cancel_scheduled(tx: Tx, business_id: str, conversation_id: str, reply_id: str) -> None:
    """Cancel a scheduled reply, or dismiss a stopped one. Raises NOT_FOUND; CONFLICT for a sent one."""
    threads.conversation_to_change(tx, business_id, conversation_id)
    reply_key = (business_id, conversation_id, reply_id)
    expected = (model.ScheduleState.DUE, model.ScheduleState.STOPPED)
    if not messages.record_scheduled(tx, reply_key, model.ScheduleState.CANCELLED, expected=expected):
        raise Refused(errors.CONFLICT, "This reply is no longer scheduled. It may have been sent.")
    threads.emit_change(tx, business_id, conversation_id)


def send_scheduled(tx: Tx) -> int:
    """Send or stop the scheduled replies that are due, and return the number of both.

    A stopped reply stays in the thread, with the reason.
    """
    due = Turns(messages.SCHEDULED).list_rows(tx, 100, partial(messages.list_due_replies, tx))
    count = 0
    for reply in in_time(due):
        reply_key = (reply.business_id, reply.conversation_id, reply.id)
        message_id = named_id(reply.id, "scheduled")
        message = model.Message.of_business(
            message_id, reply.conversation_id, reply.text, tx.now, reply.author
        )
        try:
            if is_unreadable(reply.text):
                raise Refused(errors.CANNOT_SEND, rules.STOPPED["broken"])
            send_reply(tx, reply.business_id, reply.conversation_id, message)
        except Refused as refused:
            messages.record_scheduled(tx, reply_key, model.ScheduleState.STOPPED, reason=refused.detail)
        else:
            messages.record_scheduled(tx, reply_key, model.ScheduleState.SENT)
        threads.emit_change(tx, reply.business_id, reply.conversation_id)
        count += 1
    return count


def keep_automatic(
    tx: Tx, business_id: str, account_id: str, content: model.AutomaticMessages, revision: int
) -> None:
    """Save the automatic messages of a chat page, edited from ``revision``.

    The page edits texts alone: disabled kinds stay disabled, and messages with an unchanged question or
    title keep their ids in the API.

    Raises Refused: NOT_FOUND; INVALID beyond a limit; CONFLICT when somebody was faster.
    """
    account = channel_store.find_account(tx, business_id, account_id)
    if account is None or account.platform is not channels.Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "Chat page not found.")
    saved, _ = load_automatic(tx, business_id, account_id)
    kept_parts: dict[str, Any] = {"off": saved.off}
    for part in ("questions", "prompts"):
        numbers = {message.ask: message.number for message in getattr(saved, part)}
        kept_parts[part] = tuple(
            replace(message, number=numbers.get(message.ask, 0)) for message in getattr(content, part)
        )
    keep_account_automatic(tx, account, replace(content, **kept_parts), revision)


def keep_account_automatic(
    tx: Tx, account: channels.ChannelAccount, content: model.AutomaticMessages, revision: int
) -> None:
    """Save the automatic messages of any account. Raises INVALID; CONFLICT after another change."""
    problem = rules.automatic_problem(content)
    if problem is not None:
        raise Refused(errors.INVALID, problem.text, **problem.values)
    new = {"content": content, "revision": revision + 1, "changed_at": tx.now}
    owner = {"channel_account_id": account.id, "business_id": account.business_id}
    if revision == 0:
        is_saved = tx.insert_ignore(automatic_messages, owner | new)
    else:
        own = rows_of(automatic_messages, **owner, revision=revision)
        is_saved = tx.execute(automatic_messages.update().where(*own).values(**new)).rowcount == 1
    if not is_saved:
        raise Refused(errors.CONFLICT, "Somebody else changed these messages. Nothing was overwritten.")


_PARTS: Final = {
    model.AutomaticKind.WELCOME: "welcome",
    model.AutomaticKind.QUESTION: "questions",
    model.AutomaticKind.PROMPT: "prompts",
}


def numbered_messages(
    account: channels.ChannelAccount, content: model.AutomaticMessages, kind: model.AutomaticKind
) -> dict[int, model.PreparedReply]:
    """Return the messages of a kind by the API's ``auto_message_id``, in their order."""
    if kind is model.AutomaticKind.WELCOME:
        welcome = model.PreparedReply("", content.welcome)
        return {natural_number(account.id, kind, ""): welcome} if content.welcome else {}
    listed: tuple[model.PreparedReply, ...] = getattr(content, _PARTS[kind])
    return {message.number or natural_number(account.id, kind, message.ask): message for message in listed}


class AutoMessageEdit:
    """Edit of the automatic messages of one kind, by their ids, in their order."""

    def __init__(self, tx: Tx, business_id: str, account_id: str, kind: model.AutomaticKind) -> None:
        self.account = account = channel_store.load_channel(tx, business_id, account_id)
        self._tx, self._kind, self.part = tx, kind, _PARTS[kind]
        self._content, self._revision = load_automatic(tx, account.business_id, account.id)
        self.messages = numbered_messages(account, self._content, kind)

    def check(self, numbers: list[int]) -> None:
        """Refuse unknown ids. Raises NOT_FOUND."""
        if not self.messages.keys() >= set(numbers):
            raise Refused(errors.NOT_FOUND, "auto_message_id: no message of this type has this id.")

    def save(self, listed: list[model.PreparedReply]) -> None:
        """Save the messages of the kind. Raises INVALID beyond a limit; CONFLICT after another change."""
        part: Any = tuple(listed)
        if self._kind is model.AutomaticKind.WELCOME:
            part = listed[-1].say if listed else ""
        content = replace(self._content, **{self.part: part})
        keep_account_automatic(self._tx, self.account, content, self._revision)


def push_message(tx: Tx, event: model.MessageReceived | model.MessageSent) -> None:
    """Notify subscribers of a message, without notices and notes; a handler of the outbox."""
    message = messages.find_message(tx, event.business_id, event.message_id)
    if message is None:
        return
    kind = threads.MESSAGE_TYPES[message.kind].lower()
    body: dict[str, Any] = {"text": {"body": message.text}} if kind == "text" else {}
    if message.photo:
        body = {"image": {"media_id": message.photo}}
    facts = {
        "message_id": message.id,
        "timestamp": micros(message.at) // 1_000,
        "type": kind,
        **body,
        "message_tag": {"source": threads.source_of_message(message)},
    }
    push_kind = "im_receive_msg" if message.sender is channels.Sender.CUSTOMER else "im_send_msg"
    conversation = conversations.find_conversation(tx, event.business_id, event.conversation_id)
    _queue_pushes(tx, conversation, message.id, message.sender, (push_kind, message.at, facts))


def push_tap(tx: Tx, event: model.AdTapped) -> None:
    """Notify subscribers of the ad that a person came from; a handler of the outbox."""
    ad = find_measured_ad_by_number(tx, event.business_id, int(event.ad_number))
    ad_accounts = list_ad_accounts(tx, BusinessId(event.business_id)) if ad else []
    advertiser = next(
        (str(ad_account.number) for ad_account in ad_accounts if ad and ad_account.id == ad.ad_account_id), ""
    )
    at_ms = micros(event.at) // 1_000
    shown = {
        "advertiser_id": advertiser,
        "ad_id": event.ad_number,
        "timestamp": at_ms,
        "ad_name": ad.ad_name if ad else "",
        "embed_url": "",
    }
    facts = {"timestamp": at_ms, "referral": {"source": "ad", "ad": shown}}
    conversation = conversations.find_conversation(tx, event.business_id, event.conversation_id)
    push = ("im_referral_msg", event.at, facts)
    _queue_pushes(tx, conversation, event.conversation_id, channels.Sender.CUSTOMER, push)


def push_read(tx: Tx, event: model.ConversationRead) -> None:
    """Notify subscribers up to when one side has read; a handler of the outbox."""
    conversation = conversations.find_conversation(tx, event.business_id, event.conversation_id)
    if conversation is None:
        return
    from_customer = event.reader is channels.Sender.CUSTOMER
    at = conversation.customer_read_at if from_customer else conversation.business_read_at
    if at is not None:
        at_ms = micros(at) // 1_000
        facts = {"timestamp": at_ms, "read": {"last_read_timestamp": at_ms}}
        _queue_pushes(tx, conversation, conversation.id, event.reader, ("im_mark_read_msg", at, facts))


def _queue_pushes(
    tx: Tx,
    conversation: model.Conversation | None,
    subject_id: str,
    sender: channels.Sender,
    push: tuple[str, datetime, dict[str, Any]],
) -> None:
    """Queue pushes to all subscriptions; ``push`` is the kind, the time and the facts of an event."""
    kind, at, facts = push
    business_id = conversation.business_id if conversation else ""
    account = find_account(tx, business_id, conversation.channel_account_id) if conversation else None
    if conversation is None or account is None:
        return
    person = conversations.load_person(tx, business_id, conversation.person_id)
    sides = threads.show_sides(account, person, sender)
    content = {
        "from": sides.from_user.display_name,
        "to": sides.to_user.display_name,
        "unique_identifier": person.external_id,
        "from_user": {"id": sides.from_user.id, "role": sides.from_user.role.lower()},
        "to_user": {"id": sides.to_user.id, "role": sides.to_user.role.lower()},
        "conversation_id": threads.shown_id(account, conversation),
        **facts,
    }
    open_id, at_s = threads.business_open_id(account), micros(at) // 1_000_000
    for subscription in list_subscriptions(tx, business_id, Entity.DIRECT_MESSAGE):
        body = message_payload(kind, open_id, subscription.app_id, content, at_s)
        queue_push(tx, subscription, subject_id, body)
