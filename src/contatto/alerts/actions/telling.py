"""Alerting members after what happened, mailing what is due, and keeping what each chose."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.model import BusinessId, Member
from contatto.alerts import rules
from contatto.alerts.actions.due import Reader, tell_due_alerts
from contatto.alerts.model import NEEDS, RAISED, Alert, AlertRaised, Choices, Kind, Way
from contatto.alerts.store import records as store
from contatto.channels.model import ChannelLost
from contatto.channels.store import list_token_dates
from contatto.crm.actions.ledger import list_alarms
from contatto.crm.rules.alarms import Alarm
from contatto.inbox.model import MessageReceived
from contatto.inbox.store.conversations import find_conversation, list_late_conversations
from contatto.inbox.store.targets import list_reply_targets
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import row_of
from contatto.kit.outbox import emit
from contatto.leads.model.events import LeadCaptured, WorkAssigned
from contatto.leads.store.annotations import list_due_tasks
from contatto.mail.actions import queue_mail
from contatto.mail.model import NewMail

AT_ONCE: Final = 500
"""Late chats of a business that are looked at in one batch."""
_EARLIEST: Final = timedelta(hours=14)
"""No day begins earlier anywhere than so long before it does in UTC."""


def choices_of(tx: Tx, business_id: str, member_id: str) -> Choices:
    """How a member wants to be alerted; on open pages alone until they choose."""
    return store.find_choices(tx, business_id, member_id) or Choices(business_id, member_id)


def choose_alerts(tx: Tx, choices: Choices) -> None:
    """Keep how a member wants to be alerted."""
    store.save_choices(tx, row_of(choices))


def alert_lead(tx: Tx, event: LeadCaptured) -> None:
    """Alert of a new lead; a handler of the outbox."""
    _alert(tx, event.business_id, (Kind.LEAD, event.lead_id, ""), _able(tx, event.business_id, Kind.LEAD))


def alert_message(tx: Tx, event: MessageReceived) -> None:
    """Alert of a customer's message: whom the chat is assigned to, else all; a handler of the outbox."""
    conversation = find_conversation(tx, event.business_id, event.conversation_id)
    if conversation is None:
        return
    told = _of(conversation.assignee_id, _able(tx, event.business_id, Kind.MESSAGE))
    _alert(tx, event.business_id, (Kind.MESSAGE, conversation.id, rules.message_stamp(tx.now)), told)


def alert_assignment(tx: Tx, event: WorkAssigned) -> None:
    """Alert whom a lead or a chat was given to by somebody else; a handler of the outbox."""
    given = [each for each in _able(tx, event.business_id, Kind.ASSIGNMENT) if each.id == event.member_id]
    stamp = f"{'lead' if event.lead_id else 'chat'} {rules.moment_stamp(event.at)}"
    _alert(tx, event.business_id, (Kind.ASSIGNMENT, event.lead_id or event.conversation_id, stamp), given)


def alert_channel(tx: Tx, event: ChannelLost) -> None:
    """Alert of an access token that is refused, once for each token; a handler of the outbox."""
    since = list_token_dates(tx, event.business_id).get(event.account_id)
    if since is not None:
        thing = (Kind.CHANNEL, event.account_id, rules.moment_stamp(since))
        _alert(tx, event.business_id, thing, _able(tx, event.business_id, Kind.CHANNEL))


def alert_due_tasks(tx: Tx) -> int:
    """Alert of tasks whose day has come where their member is: the lead's owner, else all; say how many."""
    told = 0
    for business_id, lead_id, owner_id, due_on in list_due_tasks(tx, (tx.now + _EARLIEST).date()):
        members = _of(owner_id, _able(tx, business_id, Kind.TASK))
        usual = _usual_zone(tx, business_id)
        here = [each for each in members if rules.local_day(tx.now, each.timezone or usual) >= due_on]
        told += _alert(tx, business_id, (Kind.TASK, lead_id, f"{due_on:%Y-%m-%d}"), here)
    return told


def alert_waiting_chats(tx: Tx) -> int:
    """Alert of customers who wait longer than their business wants; say how many were told."""
    told = 0
    for business_id, target in list_reply_targets(tx).items():
        late = tx.now - target
        between = (late - rules.LATELY, late)
        known = store.list_told(tx, business_id, Kind.WAITING, between[0])
        for chat in list_late_conversations(tx, business_id, between, AT_ONCE):
            stamp = rules.moment_stamp(chat.waiting_since or late)
            if (chat.id, stamp) not in known:
                members = _of(chat.assignee_id, _able(tx, business_id, Kind.WAITING))
                told += _alert(tx, business_id, (Kind.WAITING, chat.id, stamp), members)
    return told


def alert_linked_crms(tx: Tx) -> int:
    """Alert of linked CRMs that want attention, once a day for each alarm; say how many were told."""
    told = 0
    for business_id, number, alarm in list_alarms(tx):
        thing = (Kind.CRM, str(number), f"{alarm} {tx.now:%Y-%m-%d}")
        told += _alert(tx, business_id, thing, _able(tx, business_id, Kind.CRM))
    return told


def alert_signals(list_signal_alarms: Callable[[Tx], list[tuple[str, str, Alarm]]], tx: Tx) -> int:
    """Alert of ad platforms that are not told of leads, once a day for each alarm; say how many were told.

    The alarms come as business, ad account elsewhere, and which: signals lie beside alerts.
    """
    told = 0
    for business_id, account_id, alarm in list_signal_alarms(tx):
        thing = (Kind.SIGNALS, account_id, f"{alarm} {tx.now:%Y-%m-%d}")
        told += _alert(tx, business_id, thing, _able(tx, business_id, Kind.SIGNALS))
    return told


def _able(tx: Tx, business_id: str, kind: Kind) -> list[Member]:
    """The members who may come in and open what a kind leads to."""
    return accounts.list_able_members(tx, BusinessId(business_id), NEEDS[kind])


def _of(member_id: str | None, able: list[Member]) -> list[Member]:
    """The one whose thing it is, else all."""
    return [each for each in able if each.id == member_id] or able


def _usual_zone(tx: Tx, business_id: str) -> str:
    """The zone of members who chose none: that of the first ad account of the business."""
    known = accounts.list_ad_accounts(tx, BusinessId(business_id))
    return known[0].timezone if known else "UTC"


def _alert(tx: Tx, business_id: str, thing: tuple[Kind, str, str], members: Iterable[Member]) -> int:
    """Alert members of a thing (its kind, id and stamp) as each chose; say how many were not told before."""
    kind, subject_id, stamp = thing
    chosen, usual_zone = store.list_choices(tx, business_id), _usual_zone(tx, business_id)
    fresh = 0
    for member in members:
        choices = chosen.get(member.id, Choices(business_id, member.id))
        due = rules.due_at(choices, kind, tx.now, member.timezone or usual_zone)
        if not any(due.values()) and kind not in RAISED:
            continue
        alert = Alert(business_id, member.id, kind, subject_id, stamp, tx.now)
        if store.append_alert(tx, alert, due):
            fresh += 1
            if kind in RAISED:
                path = rules.path_of(kind, subject_id, stamp)
                emit(tx, business_id, AlertRaised(business_id, member.id, kind, path))
    return fresh


def mail_due_alerts(tx: Tx, base_url: str, *, sends_mail: bool = True) -> int:
    """Queue the mails that are due, one for each member; say how many alerts they tell of.

    Without a mail server they are dropped.
    """

    def mail(reader: Reader) -> None:
        if sends_mail:
            texts = rules.alert_mail(reader.words, reader.alerts, base_url, reader.business.name)
            queue_mail(tx, NewMail(reader.business.id, reader.member.email, *texts))

    return tell_due_alerts(tx, Way.MAIL, mail)


def purge_alerts(tx: Tx) -> int:
    """Delete alerts that are long told; say how many."""
    return store.delete_old_alerts(tx, tx.now - rules.KEPT)
