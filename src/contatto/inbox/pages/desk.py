"""What the three panes show: rows, thread and contact of conversations, read with a handful of statements."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from contatto.channels.model import Sender
from contatto.channels.registry import CONNECTORS
from contatto.channels.store import list_accounts
from contatto.inbox import rules
from contatto.inbox.model import Conversation, InlineNotice, Message
from contatto.inbox.store import conversations, messages, notices, persons
from contatto.inbox.store.conversations import ConversationFilter
from contatto.kit.db.tx import Tx
from contatto.kit.moments import from_micros, micros
from contatto.leads.model import Evidence, Lead
from contatto.leads.rules.records import person_label
from contatto.leads.store import records as lead_store
from contatto.measurement import store as measurement_store
from contatto.measurement.model import Attribution, MeasuredAd, Touch

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


def read_view(tab: str = "all", q: str = "", before: str = "") -> View:
    cut = from_micros(int(before)) if before.isdecimal() and len(before) < 17 else None
    return View(tab if tab in TABS else "all", q[:100], cut)


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
        "thread": desk.thread(chosen) if chosen else None,
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

    def thread(self, conversation: Conversation) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        said = messages.list_messages(self.tx, self.business_id, conversation.id)
        evidence = lead_store.list_evidence_of_sources(
            self.tx, self.business_id, {message.id for message in said}
        )
        fields = self._fields_of(conversation)
        entries = [_message_entry(each, conversation, evidence.get(each.id, []), fields) for each in said]
        posted = notices.list_notices(self.tx, self.business_id, conversation.id)
        entries.extend(_notice_entry(notice) for notice in posted)
        entries.extend(self._ad_entries(conversation))
        entries.sort(key=lambda entry: (entry["at"], entry["order"]))
        can_send = CONNECTORS[account.platform].can_send
        return {
            "conversation": self.row(conversation),
            "entries": entries,
            "earlier_href": None,
            "can_send": can_send,
            "cannot_send_reason": None if can_send else "Replies on this channel are written in its own app.",
            "reply_until": None,
        }

    def contact(self, conversation: Conversation) -> dict[str, Any]:
        account = self.accounts[conversation.channel_account_id]
        person = self.persons[conversation.person_id]
        lead = self.leads.get(conversation.lead_id or "")
        points = lead_store.list_contact_points(self.tx, self.business_id, {lead.id})[lead.id] if lead else []
        return {
            "conversation_id": conversation.id,
            "person_name": self._name(conversation),
            "handle": None,
            "external_id": person.external_id,
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
        return _ad_card(ad, from_micros(earned.touch_ts))

    def _ad_entries(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The ads that this person tapped, as cards in the thread."""
        touches: list[Touch] = [
            touch
            for touch in measurement_store.list_touches_of(self.tx, self.business_id, conversation.person_id)
            if touch.kind.value == "click"
        ]
        ads = measurement_store.list_measured_ads(
            self.tx, self.business_id, {touch.ad_id for touch in touches}
        )
        return [
            _ad_card(ads[touch.ad_id], from_micros(touch.ts))
            | {"kind": "ad", "id": f"ad-{touch.touch_id}", "order": 0}
            for touch in touches
            if touch.ad_id in ads
        ]

    def _fields_of(self, conversation: Conversation) -> dict[str, str]:
        """The field of each contact point of the conversation's lead."""
        lead_id = conversation.lead_id
        if not lead_id:
            return {}
        points = lead_store.list_contact_points(self.tx, self.business_id, {lead_id})[lead_id]
        return {point.id: point.field.value for point in points}


def _message_entry(
    message: Message, conversation: Conversation, evidence: list[Evidence], fields: dict[str, str]
) -> dict[str, Any]:
    is_customer = message.sender is Sender.CUSTOMER
    read_at = conversation.customer_read_at
    return {
        "kind": "message",
        "id": message.id,
        "at": message.at,
        "order": 1,
        "side": message.sender.value,
        "author": message.author or None,
        "state": None if is_customer else ("read" if read_at and read_at >= message.at else "sent"),
        "error": None,
        "segments": [
            (segment.text, segment.match and _match(segment.match, fields))
            for segment in rules.cut_segments(message.text, evidence)
        ],
    }


def _match(item: Evidence, fields: dict[str, str]) -> dict[str, Any]:
    field = fields.get(item.contact_point_id, "phone")
    return {"field": field, "rule": item.rule, "confidence": item.confidence}


def _notice_entry(notice: InlineNotice) -> dict[str, Any]:
    return {
        "kind": "notice",
        "id": notice.id,
        "at": notice.at,
        "order": 2,
        "lead_id": notice.lead_id,
        "fields": list(notice.fields),
    }


def _ad_card(ad: MeasuredAd, at: datetime) -> dict[str, Any]:
    return {
        "at": at,
        "ad_id": ad.ad_id,
        "ad_name": ad.ad_name,
        "headline": ad.headline or ad.ad_name,
        "body": ad.text or None,
        "goal": ad.goal.value,
        "ad_group_name": ad.ad_group_name,
        "campaign_name": ad.campaign_name,
    }


def _lead_chip(lead: Lead) -> dict[str, Any]:
    return {
        "id": lead.id,
        "status": lead.status.value,
        "source": lead.origin.value,
        "created_at": lead.created_at,
    }
