"""Alerts to members, their mails and push messages, and push browsers."""

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from email.utils import parseaddr
from itertools import groupby
from operator import attrgetter
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec

from contatto.accounts import store as accounts
from contatto.accounts.model import Business, BusinessId, Caller, Member
from contatto.accounts.rules import browser_name, is_able
from contatto.accounts.store import find_business, find_member
from contatto.alerts import rules, store
from contatto.alerts.connectors import web_push
from contatto.alerts.connectors.web_push import POINT_BYTES, SECRET_BYTES, MessageKey, PushEndpoint
from contatto.alerts.model import (
    ALERT_PUSH,
    NEEDS,
    RAISED,
    Alert,
    AlertChoices,
    AlertKind,
    AlertMedium,
    AlertRaised,
    PushBrowser,
)
from contatto.alerts.store import push_browsers
from contatto.channels.model import ChannelLost
from contatto.channels.store import list_token_checks
from contatto.inbox.model import MessageReceived
from contatto.inbox.store.conversations import find_conversation
from contatto.inbox.store.desk import list_late_conversations, list_reply_targets
from contatto.integrations.model import Alarm
from contatto.kit import errors
from contatto.kit.db.tx import Tx, purging, row_of
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.languages import SOURCE, Translator, translator_for
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.client import read_address
from contatto.kit.outbound.queue import queue_request
from contatto.kit.outbox import emit
from contatto.kit.values import from_base64url
from contatto.kit.vault import row_key
from contatto.leads.model import LeadCaptured, WorkAssigned
from contatto.leads.store.records import list_due_tasks
from contatto.mail import NewMail, queue_mail

ALERT_BATCH: Final = 500
"""Due alerts that one batch sends."""
LATE_CHAT_BATCH: Final = 500
"""Late chats of a business that one batch reads."""
MOST_BROWSERS: Final = 20
"""Browsers of one member."""
URL_LIMIT: Final = 2_048
_MOST_AHEAD_OF_UTC: Final = timedelta(hours=14)


def alert_lead(tx: Tx, event: LeadCaptured) -> None:
    """Alert all members of a new lead; a handler of the outbox."""
    _alert_members(tx, event.business_id, (AlertKind.LEAD, event.lead_id, ""))


def alert_message(tx: Tx, event: MessageReceived) -> None:
    """Alert the chat's assignee, else all members, of a customer's message; a handler of the outbox."""
    conversation = find_conversation(tx, event.business_id, event.conversation_id)
    if conversation is not None:
        subject = AlertKind.MESSAGE, conversation.id, rules.message_stamp(tx.now)
        _alert_members(tx, event.business_id, subject, conversation.assignee_id)


def alert_assignment(tx: Tx, event: WorkAssigned) -> None:
    """Alert the new assignee of a lead or a chat; a handler of the outbox."""
    stamp = f"{'lead' if event.lead_id else 'chat'} {event.at.strftime(rules.STAMP)}"
    subject = AlertKind.ASSIGNMENT, event.lead_id or event.conversation_id, stamp
    _alert_members(tx, event.business_id, subject, event.member_id, is_for_all=False)


def alert_channel(tx: Tx, event: ChannelLost) -> None:
    """Alert of a refused access token, once for each token; a handler of the outbox."""
    check = list_token_checks(tx, event.business_id).get(event.account_id)
    if check is not None:
        subject = AlertKind.CHANNEL, event.account_id, check.since.strftime(rules.STAMP)
        _alert_members(tx, event.business_id, subject)


def alert_due_tasks(tx: Tx) -> int:
    """Alert the lead's owner, else all members, on the local day of a task; return the number of alerts."""
    count = 0
    for business_id, lead_id, owner_id, due_on in list_due_tasks(tx, (tx.now + _MOST_AHEAD_OF_UTC).date()):
        subject = AlertKind.TASK, lead_id, f"{due_on:%Y-%m-%d}"
        count += _alert_members(tx, business_id, subject, owner_id, from_day=due_on)
    return count


def alert_waiting_chats(tx: Tx) -> int:
    """Alert of customers who wait longer than the reply target; return the number of alerts."""
    count = 0
    for business_id, target in list_reply_targets(tx).items():
        late_since = tx.now - target
        between = (late_since - rules.LATE_CHATS_WITHIN, late_since)
        alerts = store.alerts.c
        recent = alerts.kind == AlertKind.WAITING, alerts.created_at >= between[0]
        subjects = sa.select(alerts.subject_id, alerts.stamp).where(
            alerts.business_id == business_id, *recent
        )
        alerted = set(map(tuple, tx.execute(subjects.distinct())))
        for chat in list_late_conversations(tx, business_id, between, LATE_CHAT_BATCH):
            stamp = (chat.waiting_since or late_since).strftime(rules.STAMP)
            if (chat.id, stamp) not in alerted:
                subject = AlertKind.WAITING, chat.id, stamp
                count += _alert_members(tx, business_id, subject, chat.assignee_id)
    return count


def alert_alarms(
    kind: AlertKind, list_alarms: Callable[[Tx], Iterable[tuple[str, str | int, Alarm]]], tx: Tx
) -> int:
    """Alert of CRMs or ad platforms that need attention, once a day for each alarm; return the number.

    The alarms are business, number or id of the external system, and alarm.
    """
    count = 0
    for business_id, system_id, alarm in list_alarms(tx):
        count += _alert_members(tx, business_id, (kind, str(system_id), f"{alarm} {tx.now:%Y-%m-%d}"))
    return count


def _alert_members(
    tx: Tx,
    business_id: str,
    subject: tuple[AlertKind, str, str],
    assignee_id: str | None = None,
    *,
    is_for_all: bool = True,
    from_day: date | None = None,
) -> int:
    """Alert the assignee, else all members if ``is_for_all``, as they chose; return the number of new alerts.

    ``subject`` is kind, id and stamp. Members without the permission get none, nor do those in a time zone
    that has not reached ``from_day``.
    """
    kind, subject_id, stamp = subject
    of_business = store.alert_choices.c.business_id == business_id
    saved = tx.list(AlertChoices, sa.select(store.alert_choices).where(of_business))
    choices_by_member = {choices.member_id: choices for choices in saved}
    ad_accounts = accounts.list_ad_accounts(tx, BusinessId(business_id))
    default_zone = ad_accounts[0].timezone if ad_accounts else "UTC"
    members = accounts.list_able_members(tx, BusinessId(business_id), NEEDS[kind])
    new_count = 0
    assignees = [member for member in members if member.id == assignee_id]
    for member in assignees or (members if is_for_all else ()):
        zone = member.timezone or default_zone
        if from_day is not None and tx.now.astimezone(ZoneInfo(zone)).date() < from_day:
            continue
        choices = choices_by_member.get(member.id, AlertChoices(business_id, member.id))
        due = rules.due_at(choices, kind, tx.now, zone)
        if not any(due.values()) and kind not in RAISED:
            continue
        alert = Alert(business_id, member.id, kind, subject_id, stamp, tx.now)
        due_columns = {f"{medium}_at": at for medium, at in due.items()}
        if tx.insert_ignore(store.alerts, row_of(alert) | due_columns):  # not the same alert twice
            new_count += 1
            if kind in RAISED:
                path = rules.path_of(kind, subject_id, stamp)
                emit(tx, business_id, AlertRaised(business_id, member.id, kind, path))
    return new_count


@dataclass(frozen=True, slots=True)
class Recipient:
    """A member with due alerts that they may open, and the texts of their language."""

    business: Business
    member: Member
    alerts: list[Alert]
    words: Translator


def take_due_alerts(tx: Tx, medium: AlertMedium) -> tuple[list[Recipient], int]:
    """Mark due alerts of a medium as sent; return the members to send them to, and the number of alerts."""
    tx.hold_key(f"alerts {medium}")  # two workers at once would both send them
    table, due_at = store.alerts, store.DUE[medium]
    waiting = sa.select(table).where(due_at <= tx.now).order_by(table.c.business_id, table.c.member_id)
    due = tx.list(Alert, waiting.limit(ALERT_BATCH))
    recipients: list[Recipient] = []
    for (business_id, member_id), group in groupby(due, key=attrgetter("business_id", "member_id")):
        member = find_member(tx, BusinessId(business_id), member_id)
        business = find_business(tx, BusinessId(business_id))
        if member is None or business is None:
            continue
        alerts = [alert for alert in group if is_able(member, NEEDS[alert.kind])]
        if alerts:
            recipients.append(Recipient(business, member, alerts, translator_for(member.language or SOURCE)))
    if due:
        columns = sa.tuple_(table.c.member_id, table.c.kind, table.c.subject_id, table.c.stamp)
        keys = [(alert.member_id, alert.kind, alert.subject_id, alert.stamp) for alert in due]
        tx.execute(table.update().where(columns.in_(keys)).values({due_at: None}))
    return recipients, len(due)


def mail_due_alerts(tx: Tx, base_url: str, *, sends_mail: bool = True) -> int:
    """Queue the mails that are due, one for each member; return the number of alerts.

    Without a mail server the alerts are dropped.
    """
    recipients, count = take_due_alerts(tx, AlertMedium.MAIL)
    for recipient in recipients if sends_mail else ():
        texts = rules.alert_mail(recipient.words, recipient.alerts, base_url, recipient.business.name)
        queue_mail(tx, NewMail(recipient.business.id, recipient.member.email, *texts))
    return count


purge_alerts: Final = purging(store.alerts.c.created_at, rules.RETENTION)


class PushMessage(msgspec.Struct, frozen=True):
    """Content of an outbound push request: recipient, kinds of alerts, and text for the browser."""

    member_id: str
    kinds: tuple[AlertKind, ...]
    title: str
    body: str
    path: str
    tag: str


def register_browser(
    tx: Tx, caller: Caller, browser: PushEndpoint, user_agent: str, allowed: Collection[str]
) -> PushBrowser:
    """Register a browser for a member's push alerts with its sealed endpoint; remove it from all other users.

    Raises INVALID for a malformed endpoint, or a forbidden address.
    """
    try:
        read_address(browser.endpoint[: URL_LIMIT + 1], allowed)
        point, secret = from_base64url(browser.public_key), from_base64url(browser.secret)
        if len(point) != POINT_BYTES or len(secret) != SECRET_BYTES:
            raise ValueError("the key or the secret has another length")
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        fits = len(browser.endpoint) <= URL_LIMIT and browser.endpoint.isascii()
    except ValueError:
        fits = False
    if not fits:
        raise Refused(
            errors.INVALID, "endpoint: Alerts cannot be sent to this push service. Use another browser."
        )
    tx.hold_key("push browsers", caller.subject_id)
    browsers = store.list_browsers(tx, caller.business_id, caller.subject_id)
    browser_id = tx.vault.named_id("push browser", browser.endpoint)
    if len(browsers) >= MOST_BROWSERS and browser_id not in {known_browser.id for known_browser in browsers}:
        problem = N_("endpoint: Alerts already go to %(most)s browsers. Remove one first.")
        raise Refused(errors.INVALID, problem, most=MOST_BROWSERS)
    is_foreign = push_browsers.c.id == browser_id, push_browsers.c.user_id != caller.user_id
    tx.execute(push_browsers.delete().where(*is_foreign))  # in all businesses
    row = (browser_id, caller.business_id, caller.subject_id, caller.user_id)
    push_browser = PushBrowser(*row, browser_name(user_agent), tx.now)
    row_id = row_key(browser_id, caller.subject_id)
    sealed_texts = {
        name: tx.vault.seal(text, caller.business_id, f"push_browsers.{name}", row_id)
        for name, text in row_of(browser).items()
    }
    tx.save(push_browsers, row_of(push_browser) | sealed_texts, changes=tuple(sealed_texts))
    return push_browser


def push_due_alerts(tx: Tx) -> int:
    """Queue one message with all due alerts for each browser of a member; return the number of alerts."""
    recipients, count = take_due_alerts(tx, AlertMedium.PUSH)
    for recipient in recipients:
        business_id, member_id = recipient.business.id, recipient.member.id
        title, path, tag = rules.push_text(recipient.words, recipient.alerts)
        kinds = tuple(dict.fromkeys(alert.kind for alert in recipient.alerts))
        message = PushMessage(member_id, kinds, title, recipient.business.name, path, tag)
        progress = msgspec.json.encode(message).decode()
        for browser in store.list_browsers(tx, business_id, member_id):
            endpoint = store.find_browser(tx, business_id, member_id, browser.id)
            if endpoint is not None:
                host = urlsplit(endpoint.endpoint).netloc.lower()[:300]
                request = outbound.NewRequest(business_id, ALERT_PUSH, browser.id, host, progress=progress)
                queue_request(tx, request, web_push.PLAN)
    return count


def begin_alert_push(
    tx: Tx, request: outbound.OutboundRequest, mail_from: str, base_url: str
) -> outbound.Step:
    """Encrypt the message anew for each attempt; skip members without permission or session.

    The push service gets the operator's mail or web address as contact.
    """
    message = msgspec.json.decode(request.progress, type=PushMessage)
    browser = store.find_browser(tx, request.business_id, message.member_id, request.subject)
    member = find_member(tx, BusinessId(request.business_id), message.member_id)
    if browser is None or member is None:
        return outbound.Done()
    members, sessions = accounts.members.c, accounts.sessions.c
    is_active = members.user_id == member.user_id, members.deactivated_at.is_(None)
    own = sessions.member_id.in_(sa.select(members.id).where(*is_active))
    if not tx.scalar(sa.select(sa.exists().where(own, sessions.expires_at > tx.now))):
        return outbound.Done()
    if not all(is_able(member, NEEDS[kind]) for kind in message.kinds):
        return outbound.Done()
    content = {"title": message.title, "body": message.body, "path": message.path, "tag": message.tag}
    message_key = MessageKey(ec.generate_private_key(ec.SECP256R1()), os.urandom(16))
    body = web_push.seal_message(msgspec.json.encode(content), browser, message_key)
    address = parseaddr(mail_from)[1]
    contact = f"mailto:{address}" if address else base_url if base_url.startswith("https://") else ""
    key = web_push.vapid_key(tx.vault.derivation_key(web_push.VAPID_KEY))
    headers = web_push.push_headers(browser.endpoint, key, contact, tx.now)
    return outbound.Ask(outbound.HttpRequest("POST", browser.endpoint, headers, body), request.progress)


def read_alert_push_answer(
    tx: Tx, request: outbound.OutboundRequest, answer: outbound.HttpAnswer
) -> outbound.Step:
    """Interpret a push service's answer; delete a browser that is gone or bound to another key."""
    if answer.status in web_push.EXPIRED_STATUSES or answer.status == web_push.NOT_OURS:
        _delete_browser(tx, request)
        return outbound.Done()
    return web_push.read_service_answer(answer)


def settle_alert_push(
    tx: Tx, request: outbound.OutboundRequest, outcome: outbound.Outcome, state: outbound.RequestState
) -> None:
    """Delete a browser with a forbidden address."""
    if isinstance(outcome, outbound.Failed) and outcome.reason == outbound.SendFailure.FORBIDDEN:
        _delete_browser(tx, request)


def _delete_browser(tx: Tx, request: outbound.OutboundRequest) -> None:
    message = msgspec.json.decode(request.progress, type=PushMessage)
    tx.delete(push_browsers, request.business_id, member_id=message.member_id, id=request.subject)
