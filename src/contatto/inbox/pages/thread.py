"""Thread pane of a conversation: messages, notices, notes and ads by time."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from contatto.channels.model import ChannelAccount, MessageKind, Sender
from contatto.channels.store import CONNECTORS
from contatto.forms.store import list_versions
from contatto.inbox import rules
from contatto.inbox.actions.replies import load_window
from contatto.inbox.actions.threads import list_own_taps
from contatto.inbox.model import Conversation, SendState
from contatto.inbox.store import conversations, messages
from contatto.inbox.store.desk import list_private_notes
from contatto.inbox.store.messages import list_referrals, list_scheduled
from contatto.kit.db.tx import Tx
from contatto.kit.values import from_micros, is_unreadable, micros
from contatto.leads.store import listing
from contatto.leads.store.records import list_evidence_of_sources

THREAD_PAGE: Final = 100
"""Messages of a thread that are shown at once."""
_ARRIVED: Final = (SendState.SENT, SendState.DELIVERED)
_SHOWN_STATE: Final = {SendState.DUE: "queued", SendState.DEAD: "failed"}
_ORDER: Final = {"ad": 0, "message": 1, "notice": 2, "note": 3}
"""Order of the kinds of entries with the same time."""


def thread_part(
    tx: Tx, account: ChannelAccount, conversation: Conversation, before: datetime | None = None
) -> dict[str, Any]:
    """Return the entries of a thread, or of an older page, and the limits of a reply.

    The ``kind`` of an entry selects its template.
    """
    business_id = conversation.business_id
    chat_messages = messages.list_messages(tx, business_id, conversation.id, THREAD_PAGE, before)
    start = chat_messages[0].at if chat_messages and len(chat_messages) == THREAD_PAGE else None
    ids = {message.id for message in chat_messages}
    evidence = list_evidence_of_sources(tx, business_id, conversation.person_id, ids)
    sends = messages.list_sends(tx, business_id, ids)
    lead_ids = {conversation.lead_id} if conversation.lead_id else set()
    points_by_lead = listing.list_contact_points(tx, business_id, lead_ids) if lead_ids else {}
    fields = {point.id: point.field.value for points in points_by_lead.values() for point in points}
    photos = messages.list_photos(tx, business_id, chat_messages)
    entries: list[dict[str, Any]] = []
    for message in chat_messages:
        send, read_at = sends.get(message.id), conversation.customer_read_at
        state, error, can_retry = None, None, False
        if message.sender is not Sender.CUSTOMER and send and send.state not in _ARRIVED:
            state = _SHOWN_STATE.get(send.state, "failed")
            can_retry = send.state in (SendState.FAILED, SendState.DEAD)
            error = rules.stop_text(send.reason) if can_retry and send.reason else None
        elif message.sender is not Sender.CUSTOMER:
            state = send.state.value if send else "sent"
            state = "read" if read_at and read_at >= message.at else state
        proofs = [] if is_unreadable(message.text) else evidence.get(message.id, [])
        segments: list[tuple[str, dict[str, Any] | None]] = []
        for text, item in rules.cut_segments(message.text, proofs):
            field = fields.get(item.contact_point_id, "phone") if item else ""
            proof = {"field": field, "rule": item.rule, "confidence": item.confidence} if item else None
            segments.append((text, proof))
        entries.append(
            {
                "kind": "message",
                "id": message.id,
                "at": message.at,
                "side": "auto" if message.kind is MessageKind.AUTOMATIC else message.sender.value,
                "author": message.author or None,
                "segments": segments,
                "is_form": message.kind is MessageKind.FORM,
                "has_photo": message.kind is MessageKind.PHOTO,
                "photo": photos.get(message.photo or ""),
                "state": state,
                "error": error,
                "can_retry": can_retry,
            }
        )
    entries += [
        {"kind": "notice", **asdict(notice)}
        for notice in conversations.list_notices(tx, business_id, conversation.id)
    ]
    entries += [
        {"kind": "note", **asdict(note)} for note in list_private_notes(tx, business_id, conversation.id)
    ]
    # Taps on our own ads and, below, those that a platform reported become entries of the thread.
    entries += [
        {
            "kind": "ad",
            "id": f"ad-{touch.touch_id}",
            "at": from_micros(touch.ts),
            "ad_id": ad.ad_id,
            "ad_name": ad.ad_name,
            "headline": ad.headline or ad.ad_name,
            "body": ad.text or None,
            "goal": ad.goal.value,
            "ad_group_name": ad.ad_group_name,
            "campaign_name": ad.campaign_name,
        }
        for touch, ad in list_own_taps(tx, conversation)
    ]
    for referral in list_referrals(tx, business_id, conversation.id):
        number = str(referral.ad_number) if referral.ad_number else ""
        entries.append(
            {
                "kind": "ad",
                "id": f"ad-{referral.id}",
                "at": referral.at,
                "ad_id": None,
                "ad_name": number,
                "headline": referral.headline or number,
                "body": referral.ad_text or None,
            }
        )
    later = [
        {"kind": "scheduled", "at": reply.due_at, **asdict(reply)}
        for reply in ([] if before else list_scheduled(tx, business_id, conversation.id))
    ]
    entries = [
        entry
        for entry in entries
        if (not start or entry["at"] >= start) and (not before or entry["at"] < before)
    ]
    entries.sort(key=lambda entry: (entry["at"], _ORDER[entry["kind"]]))
    # An ad is a whole card where it comes first; later it is one line.
    earlier_ads: set[tuple[str | None, str]] = set()
    for entry in entries:
        if entry["kind"] == "ad":
            key = (entry["ad_id"], entry["ad_name"] or entry["headline"])
            entry["is_again"] = key in earlier_ads
            earlier_ads.add(key)
    # Forms that can be sent are the latest published versions, as (page id, name).
    published = sorted(list_versions(tx, business_id), key=lambda version: version.version)
    latest_versions = {version.form_id: version for version in published}
    window = load_window(tx, account, conversation)
    return {
        "entries": [*entries, *later],
        "earlier_href": (f"/inbox/{conversation.id}?" + urlencode({"before": micros(start)}))
        if start
        else None,
        "newest_href": f"/inbox/{conversation.id}" if before else None,
        "before": micros(before) if before else None,
        "can_send": window.is_open,
        "cannot_send_reason": rules.stop_text(window.reason) if window.reason else None,
        "reply_until": window.until,
        "replies_left": window.left,
        "text_limit": CONNECTORS[account.platform].dialect.text_limit,
        "forms": [(str(form.number), form.name) for form in latest_versions.values()],
        "takes_photos": CONNECTORS[account.platform].dialect.takes_photos,
    }
