"""What the three panes show: rows, thread and contact of conversations, read with a handful of statements."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import BaseModel

from contatto.accounts.model import Caller, MemberId, Permission
from contatto.accounts.rules import is_able, may
from contatto.accounts.store import list_members
from contatto.channels.registry import CONNECTORS
from contatto.channels.store import list_accounts
from contatto.inbox import rules
from contatto.inbox.actions.searching import FoundConversations, search_conversations
from contatto.inbox.model import Conversation, ThreadState
from contatto.inbox.pages.thread import thread_part
from contatto.inbox.pages.thread_view import AdCard, ContactView, DetailChip, LeadChip, RowView, ThreadView
from contatto.inbox.store import conversations, messages, persons
from contatto.inbox.store.conversations import ConversationFilter
from contatto.inbox.store.desk import list_label_ids, list_saved_replies
from contatto.inbox.store.mentions import list_unseen_mentions
from contatto.inbox.store.targets import find_reply_target
from contatto.kit.db.remembered import Recall
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import row_of
from contatto.kit.i18n import N_
from contatto.kit.timestamps import from_micros, micros
from contatto.leads.model.leads import Lead
from contatto.leads.rules.records import person_label
from contatto.leads.store import records as lead_store
from contatto.leads.store.annotations import list_labels
from contatto.measurement import store as measurement_store
from contatto.measurement.model import Attribution, MeasuredAd
from contatto.spam.model import Mark, Sign
from contatto.spam.store import find_verdict

SIGNS: Final = {
    Sign.WORDS: N_("The text resembles chats that were marked as spam."),
    Sign.PERSON: N_("Another chat of this person was marked as spam."),
    Sign.TAPS: N_("This person clicks ads unusually often."),
    Sign.ACCOUNT: N_("This account receives a lot of spam."),
}
TABS: Final = ("mine", "mentions", "unassigned", "all", "waiting", "late")
_COUNTED: Final = tuple(tab for tab in TABS if tab != "mentions")
SHOWN: Final = tuple(state.value for state in ThreadState)
PAGE: Final = 50


class ViewQuery(BaseModel):
    """What the address of the inbox may say; what it says wrong counts as nothing."""

    tab: str = "all"
    show: str = "open"
    q: str = ""
    past: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the inbox asks for."""

    tab: str
    show: ThreadState
    q: str
    before: datetime | None = None
    older: datetime | None = None
    """Where an older page of the thread ends."""
    past: int | None = None
    """Sequence number before which a search reads messages."""

    @property
    def query(self) -> dict[str, str]:
        past = {} if self.past is None else {"past": str(self.past)}
        return {"tab": self.tab, "show": self.show.value, "q": self.q, **past}


def read_view(asked: ViewQuery, before: str = "", older: str = "") -> View:
    tab = asked.tab if asked.tab in TABS else "all"
    show = ThreadState(asked.show) if asked.show in SHOWN else ThreadState.OPEN
    past = _read_whole(asked.past)
    return View(tab, show, asked.q[:100], _read_moment(before), _read_moment(older), past)


def _read_moment(text: str) -> datetime | None:
    moment = _read_whole(text)
    return None if moment is None else from_micros(moment)


def _read_whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else None


class Pane(StrEnum):
    """A part of the inbox that is fetched alone: what it does not show is not read."""

    THREAD = "thread"
    CONTACT = "contact"


def pane_values(tx: Tx, caller: Caller, view: View, selected: str | None, pane: Pane) -> dict[str, Any]:
    """What the thread or the contact pane of a conversation shows."""
    chosen = conversations.find_conversation(tx, caller.business_id, selected) if selected else None
    if chosen is None:
        return {"selected": None}
    desk = _Desk(tx, caller, [chosen], find_reply_target(tx, caller.business_id))
    if pane is Pane.CONTACT:
        return {"selected": chosen, "contact": desk.contact(chosen)}
    replies = list_saved_replies(tx, caller.business_id)
    return {"selected": chosen, "thread": desk.thread(chosen, view.older), "saved_replies": replies}


def inbox_values(
    tx: Tx, caller: Caller, view: View, selected: str | None, recall: Recall, *, whole: bool = True
) -> dict[str, Any]:
    """What all three panes show, or the list alone."""
    business_id = caller.business_id
    matches = FoundConversations(frozenset())
    if view.q.strip():
        matches = search_conversations(tx, business_id, view.q, before=view.past)
    among = matches.ids if view.q.strip() else None
    target = find_reply_target(tx, business_id)
    late_before = tx.now - target if target else None

    wanted = ConversationFilter(view.tab, among, view.show, caller.subject_id, late_before)
    found = conversations.list_conversations(tx, business_id, wanted, PAGE, view.before)
    chosen = conversations.find_conversation(tx, business_id, selected) if selected else None
    desk = _Desk(tx, caller, [*found, chosen] if chosen else found, target)
    opened = chosen if whole else None
    counts = _tab_counts(tx, business_id, wanted, recall)
    older = None
    if len(found) == PAGE and found[-1].last_message_at:
        older = "/inbox?" + urlencode(view.query | {"before": micros(found[-1].last_message_at)})
    return {
        "tab": view.tab,
        "show": view.show.value,
        "q": view.q,
        "counts": counts | {"mentions": len(desk.mentioned)},
        "has_target": target is not None,
        "conversations": [desk.row(conversation) for conversation in found],
        "next_href": older,
        "query": view.query,
        "searched_to": matches.oldest_at,
        "search_href": _search_href(view, matches),
        "selected": desk.row(chosen) if chosen else None,
        "thread": desk.thread(opened, view.older) if opened else None,
        "contact": desk.contact(opened) if opened else None,
        "saved_replies": list_saved_replies(tx, business_id) if opened else [],
    }


def _search_href(view: View, matches: FoundConversations) -> str | None:
    """Return the address that continues a search in older messages."""
    if matches.next_before is None:
        return None
    return "/inbox?" + urlencode(view.query | {"past": str(matches.next_before)})


def _tab_counts(tx: Tx, business_id: str, wanted: ConversationFilter, recall: Recall) -> dict[str, int]:
    """How many conversations each tab has; of all of them what is remembered, of what a search found anew."""
    if wanted.among is not None:
        return conversations.count_tabs(tx, business_id, wanted, _COUNTED)
    key = ("tabs", business_id, wanted.member_id, wanted.state)
    return dict(recall.find(key, lambda: conversations.count_tabs(tx, business_id, wanted, _COUNTED)))


MOST_FOUND: Final = 8


def list_found(tx: Tx, caller: Caller, words: str) -> list[dict[str, str]]:
    """The latest conversations that a search finds, with where they open."""
    among = search_conversations(tx, caller.business_id, words).ids
    wanted = ConversationFilter(among=among, member_id=caller.subject_id)
    found = conversations.list_conversations(tx, caller.business_id, wanted, MOST_FOUND) if among else []
    rows = map(_Desk(tx, caller, found, None).row, found)
    return [{"href": f"/inbox/{row.id}", "title": row.person_name, "hint": row.snippet} for row in rows]


class _Desk:
    """Rows, thread and contact of some conversations, read with a handful of statements."""

    def __init__(self, tx: Tx, caller: Caller, shown: list[Conversation], target: timedelta | None) -> None:
        self.target = target
        self.mentioned = list_unseen_mentions(tx, caller.business_id, caller.subject_id)
        self.tx = tx
        self.caller = caller
        self.business_id = business_id = caller.business_id
        ids = {conversation.id for conversation in shown}
        self.accounts = {account.id: account for account in list_accounts(tx, business_id)}
        self.persons = persons.list_persons(tx, business_id, {each.person_id for each in shown})
        self.last = messages.list_last_messages(tx, business_id, ids)
        self.earned = measurement_store.list_attributions(tx, business_id, ids)
        ad_ids = {each.ad_id for each in self.earned.values() if each.ad_id}
        self.ads = measurement_store.list_measured_ads(tx, business_id, ad_ids)
        members = list_members(tx, caller.business_id)
        self.members = {each.id: each.display_name for each in members}
        self.able = [(each.id, each.display_name) for each in members if is_able(each, Permission.READ_INBOX)]
        self.labels = list_labels(tx, business_id)
        self.labelled = list_label_ids(tx, business_id, ids)
        lead_ids = {each.lead_id for each in shown if each.lead_id}
        self.leads = lead_store.list_leads_by_id(tx, business_id, lead_ids)

    def row(self, conversation: Conversation) -> RowView:
        account = self.accounts[conversation.channel_account_id]
        last = self.last.get(conversation.id)
        ad = self._opening_ad(conversation)
        lead = self.leads.get(conversation.lead_id or "")
        return RowView(
            id=conversation.id,
            person_name=self._name(conversation),
            handle=None,
            channel=account.platform.value,
            account_name=account.name,
            ad_name=ad.ad_name if ad else None,
            snippet=rules.snippet(last.text) if last else "",
            snippet_kind=last.kind.value if last else "text",
            snippet_from=last.sender.value if last else "customer",
            last_message_at=conversation.last_message_at,
            unread=conversation.unread,
            lead_id=conversation.lead_id,
            lead_status=lead.status.value if lead else None,
            state=conversation.state.value,
            snoozed_until=conversation.snoozed_until,
            assignee_id=conversation.assignee_id,
            assignee=self.members.get(MemberId(conversation.assignee_id or "")),
            waiting_since=conversation.waiting_since,
            answer_by=self._answer_by(conversation),
            is_mentioned=conversation.id in self.mentioned,
            labels=[label for label in self.labels if label.id in self.labelled[conversation.id]],
            revision=conversation.revision,
        )

    def thread(self, conversation: Conversation, before: datetime | None) -> ThreadView:
        account = self.accounts[conversation.channel_account_id]
        judged = find_verdict(self.tx, self.business_id, conversation.id)
        return ThreadView(
            **row_of(thread_part(self.tx, account, conversation, before)),
            conversation=self.row(conversation),
            members=self.able,
            me=self.caller.subject_id,
            known_labels=self.labels,
            can_act=may(self.caller, Permission.WRITE_INBOX),
            signs=[SIGNS[Sign(each)] for each in judged.signs] if judged and judged.is_suspicious else [],
            is_marked_spam=judged is not None and judged.mark is Mark.SPAM,
        )

    def contact(self, conversation: Conversation) -> ContactView:
        account = self.accounts[conversation.channel_account_id]
        dialect = CONNECTORS[account.platform].dialect
        person = self.persons[conversation.person_id]
        lead = self.leads.get(conversation.lead_id or "")
        points = lead_store.list_contact_points(self.tx, self.business_id, {lead.id})[lead.id] if lead else []
        return ContactView(
            conversation_id=conversation.id,
            person_name=self._name(conversation),
            handle=None,
            external_id=None if dialect.ids_are_contacts else person.external_id,
            channel=account.platform.value,
            account_name=account.name,
            first_seen_at=person.created_at,
            lead=_lead_chip(lead) if lead else None,
            contact_points=[
                DetailChip(point.field.value, point.value, point.origin.value) for point in points
            ],
            first_ad=self._first_ad(conversation),
        )

    def _answer_by(self, conversation: Conversation) -> datetime | None:
        """When the person should have an answer, as long as nobody has given one."""
        since = conversation.waiting_since
        return since + self.target if since and self.target else None

    def _name(self, conversation: Conversation) -> str:
        lead = self.leads.get(conversation.lead_id or "")
        person = self.persons[conversation.person_id]
        return person_label((lead.name if lead else "") or person.name, person.id)

    def _opening_ad(self, conversation: Conversation) -> MeasuredAd | None:
        earned: Attribution | None = self.earned.get(conversation.id)
        return self.ads.get(earned.ad_id) if earned and earned.ad_id else None

    def _first_ad(self, conversation: Conversation) -> AdCard | None:
        ad, earned = self._opening_ad(conversation), self.earned.get(conversation.id)
        if ad is None or earned is None or earned.touch_ts is None:
            return None
        at = from_micros(earned.touch_ts)
        return AdCard(at, ad.ad_name, ad.goal.value, ad.ad_group_name, ad.campaign_name)


def _lead_chip(lead: Lead) -> LeadChip:
    return LeadChip(lead.id, lead.status.value, lead.origin.value, lead.created_at)
