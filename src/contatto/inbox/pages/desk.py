"""What the three panes show: rows, thread and contact of conversations, read with a handful of statements."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from contatto.channels.registry import CONNECTORS
from contatto.channels.store import list_accounts
from contatto.inbox import rules
from contatto.inbox.model import Conversation
from contatto.inbox.pages.thread import ad_card, thread_values
from contatto.inbox.store import conversations, messages, persons
from contatto.inbox.store.conversations import ConversationFilter
from contatto.kit.db.tx import Tx
from contatto.kit.moments import from_micros, micros
from contatto.leads.model import Lead
from contatto.leads.rules.records import person_label
from contatto.leads.store import records as lead_store
from contatto.measurement import store as measurement_store
from contatto.measurement.model import Attribution, MeasuredAd

TABS: Final = ("all", "unread", "leads")
PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Counts:
    all: int
    unread: int
    leads: int


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the inbox asks for."""

    tab: str
    q: str
    before: datetime | None = None
    older: datetime | None = None
    """Where an older page of the thread ends."""


def read_view(tab: str = "all", q: str = "", before: str = "", older: str = "") -> View:
    return View(tab if tab in TABS else "all", q[:100], _read_moment(before), _read_moment(older))


def _read_moment(text: str) -> datetime | None:
    return from_micros(int(text)) if text.isascii() and text.isdecimal() and len(text) < 17 else None


def inbox_values(tx: Tx, business_id: str, view: View, selected: str | None) -> dict[str, Any]:
    wanted = ConversationFilter(view.tab, view.q)
    found = conversations.list_conversations(tx, business_id, wanted, PAGE, view.before)
    chosen = conversations.find_conversation(tx, business_id, selected) if selected else None
    desk = _Desk(tx, business_id, [*found, chosen] if chosen else found)
    counts = Counts(
        *(conversations.count_conversations(tx, business_id, ConversationFilter(tab, view.q)) for tab in TABS)
    )
    older = None
    if len(found) == PAGE and found[-1].last_message_at:
        cut = micros(found[-1].last_message_at)
        older = "/inbox?" + urlencode({"tab": view.tab, "q": view.q, "before": cut})
    return {
        "tab": view.tab,
        "q": view.q,
        "counts": counts,
        "conversations": [desk.row(conversation) for conversation in found],
        "next_href": older,
        "selected": desk.row(chosen) if chosen else None,
        "thread": desk.thread(chosen, view.older) if chosen else None,
        "contact": desk.contact(chosen) if chosen else None,
    }


class _Desk:
    """Rows, thread and contact of some conversations, read with a handful of statements."""

    def __init__(self, tx: Tx, business_id: str, shown: list[Conversation]) -> None:
        self.tx = tx
        self.business_id = business_id
        ids = {conversation.id for conversation in shown}
        self.accounts = {account.id: account for account in list_accounts(tx, business_id)}
        self.persons = persons.list_persons(tx, business_id, {each.person_id for each in shown})
        self.last = messages.list_last_messages(tx, business_id, ids)
        self.earned = measurement_store.list_attributions(tx, business_id, ids)
        ad_ids = {each.ad_id for each in self.earned.values() if each.ad_id}
        self.ads = measurement_store.list_measured_ads(tx, business_id, ad_ids)
        lead_ids = {each.lead_id for each in shown if each.lead_id}
        self.leads = lead_store.list_leads_by_id(tx, business_id, lead_ids)

    def row(self, conversation: Conversation) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        last = self.last.get(conversation.id)
        ad = self._opening_ad(conversation)
        lead = self.leads.get(conversation.lead_id or "")
        return {
            "id": conversation.id,
            "person_name": self._name(conversation),
            "handle": None,
            "channel": account.platform.value,
            "account_name": account.name,
            "ad_name": ad.ad_name if ad else None,
            "snippet": rules.snippet(last.text) if last else "",
            "snippet_from": last.sender.value if last else "customer",
            "last_message_at": conversation.last_message_at,
            "unread": conversation.unread,
            "lead_id": conversation.lead_id,
            "lead_status": lead.status.value if lead else None,
        }

    def thread(self, conversation: Conversation, before: datetime | None) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        shown = thread_values(self.tx, account, conversation, before)
        return {"conversation": self.row(conversation), **shown}

    def contact(self, conversation: Conversation) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        dialect = CONNECTORS[account.platform].dialect
        person = self.persons[conversation.person_id]
        lead = self.leads.get(conversation.lead_id or "")
        points = lead_store.list_contact_points(self.tx, self.business_id, {lead.id})[lead.id] if lead else []
        return {
            "conversation_id": conversation.id,
            "person_name": self._name(conversation),
            "handle": None,
            "external_id": None if dialect.ids_are_contacts else person.external_id,
            "channel": account.platform.value,
            "account_name": account.name,
            "first_seen_at": person.created_at,
            "lead": lead and _lead_chip(lead),
            "contact_points": [
                {
                    "field": point.field.value,
                    "value": point.value,
                    "origin": point.origin.value,
                    "captured_at": point.created_at,
                }
                for point in points
            ],
            "first_ad": self._first_ad(conversation),
        }

    def _name(self, conversation: Conversation) -> str:
        lead = self.leads.get(conversation.lead_id or "")
        person = self.persons[conversation.person_id]
        return person_label((lead.name if lead else "") or person.name, person.id)

    def _opening_ad(self, conversation: Conversation) -> MeasuredAd | None:
        earned: Attribution | None = self.earned.get(conversation.id)
        return self.ads.get(earned.ad_id) if earned and earned.ad_id else None

    def _first_ad(self, conversation: Conversation) -> dict[str, Any] | None:
        ad, earned = self._opening_ad(conversation), self.earned.get(conversation.id)
        if ad is None or earned is None or earned.touch_ts is None:
            return None
        return ad_card(ad, from_micros(earned.touch_ts))


def _lead_chip(lead: Lead) -> dict[str, Any]:
    return {
        "id": lead.id,
        "status": lead.status.value,
        "source": lead.origin.value,
        "created_at": lead.created_at,
    }
