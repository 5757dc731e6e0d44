"""What the middle pane shows: messages with evidence and state, notices, the ads that opened the chat."""

from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from contatto.channels.model import ChannelAccount, MessageKind, Sender
from contatto.channels.registry import CONNECTORS
from contatto.forms.store import list_versions
from contatto.inbox import rules
from contatto.inbox.actions.replies import load_window
from contatto.inbox.model import (
    AdReferral,
    Conversation,
    Message,
    Photo,
    Send,
    SendState,
)
from contatto.inbox.pages.thread_view import (
    AdEntry,
    Entry,
    Match,
    MessageEntry,
    Progress,
    ThreadPart,
    ad_entry,
    note_entry,
    notice_entry,
    scheduled_entry,
)
from contatto.inbox.store import messages, notices, photos, referrals, sends
from contatto.inbox.store.desk import list_private_notes
from contatto.inbox.store.scheduled import list_scheduled
from contatto.kit.db.tx import Tx
from contatto.kit.sealed import is_unreadable
from contatto.kit.timestamps import from_micros, micros
from contatto.leads.model.leads import Evidence
from contatto.leads.store import records as lead_store
from contatto.leads.store.merges import list_evidence_of_sources
from contatto.measurement import store as measurement_store

THREAD_PAGE: Final = 100
"""Messages of a thread that are shown at once."""
_SHOWN_STATE: Final = {SendState.DUE: "queued", SendState.DEAD: "failed"}


def thread_part(
    tx: Tx, account: ChannelAccount, conversation: Conversation, before: datetime | None = None
) -> ThreadPart:
    """The thread of a conversation, or an older page of it."""
    business_id = conversation.business_id
    said = messages.list_messages(tx, business_id, conversation.id, THREAD_PAGE, before)
    start = said[0].at if said and len(said) == THREAD_PAGE else None
    entries: list[Entry] = [*_message_entries(tx, conversation, said)]
    entries += [notice_entry(each) for each in notices.list_notices(tx, business_id, conversation.id)]
    entries += [note_entry(each) for each in list_private_notes(tx, business_id, conversation.id)]
    entries += _ad_entries(tx, conversation)
    later = [] if before else list_scheduled(tx, business_id, conversation.id)
    entries = [
        each for each in entries if (not start or each.at >= start) and (not before or each.at < before)
    ]
    entries = _each_ad_once(sorted(entries, key=lambda entry: (entry.at, entry.order)))
    window = load_window(tx, account, conversation)
    return ThreadPart(
        entries=entries + [scheduled_entry(each) for each in later],
        earlier_href=_page_href(conversation, start) if start else None,
        newest_href=f"/inbox/{conversation.id}" if before else None,
        before=micros(before) if before else None,
        can_send=window.is_open,
        cannot_send_reason=rules.stop_text(window.reason) if window.reason else None,
        reply_until=window.until,
        replies_left=window.left,
        text_limit=CONNECTORS[account.platform].dialect.text_limit,
        forms=list_sendable_forms(tx, business_id),
        takes_photos=CONNECTORS[account.platform].dialect.takes_photos,
    )


def _each_ad_once(entries: list[Entry]) -> list[Entry]:
    """The entries, of which a card is whole where an ad is met first; later it is one line."""
    met: set[tuple[str | None, str]] = set()
    shown: list[Entry] = []
    for entry in entries:
        if isinstance(entry, AdEntry):
            key = (entry.ad_id, entry.ad_name or entry.headline)
            shown.append(replace(entry, is_again=key in met))
            met.add(key)
        else:
            shown.append(entry)
    return shown


def _page_href(conversation: Conversation, start: datetime) -> str:
    return f"/inbox/{conversation.id}?" + urlencode({"before": micros(start)})


def _message_entries(tx: Tx, conversation: Conversation, said: list[Message]) -> list[MessageEntry]:
    ids = {message.id for message in said}
    business_id, person_id = conversation.business_id, conversation.person_id
    evidence = list_evidence_of_sources(tx, business_id, person_id, ids)
    progress = sends.list_sends(tx, conversation.business_id, ids)
    fields = _fields_of(tx, conversation)
    kept = photos.list_photos(tx, conversation.business_id, {each.photo for each in said if each.photo})
    return [
        _message_entry(
            each,
            _segments(each, evidence.get(each.id, []), fields),
            kept.get(each.photo or ""),
            _progress(each, conversation, progress.get(each.id)),
        )
        for each in said
    ]


def _fields_of(tx: Tx, conversation: Conversation) -> dict[str, str]:
    """The field of each contact point of the conversation's lead."""
    lead_id = conversation.lead_id
    if not lead_id:
        return {}
    points = lead_store.list_contact_points(tx, conversation.business_id, {lead_id})[lead_id]
    return {point.id: point.field.value for point in points}


def _message_entry(
    message: Message, segments: list[tuple[str, Match | None]], photo: Photo | None, progress: Progress
) -> MessageEntry:
    return MessageEntry(
        id=message.id,
        at=message.at,
        side="auto" if message.kind is MessageKind.AUTOMATIC else message.sender.value,
        author=message.author or None,
        segments=segments,
        is_form=message.kind is MessageKind.FORM,
        has_photo=message.kind is MessageKind.PHOTO,
        photo=photo,
        state=progress.state,
        error=progress.error,
        can_retry=progress.can_retry,
    )


def _segments(
    message: Message, evidence: list[Evidence], fields: dict[str, str]
) -> list[tuple[str, Match | None]]:
    """The text of a message in parts, with what each contact detail is."""
    if is_unreadable(message.text):
        return [(message.text, None)]
    return [
        (segment.text, _match(segment.match, fields) if segment.match else None)
        for segment in rules.cut_segments(message.text, evidence)
    ]


def list_sendable_forms(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """The latest published version of each form, as (page id, name)."""
    published = sorted(list_versions(tx, business_id), key=lambda version: version.version)
    latest = {version.form_id: version for version in published}
    return [(str(each.number), each.name) for each in latest.values()]


def _progress(message: Message, conversation: Conversation, send: Send | None) -> Progress:
    if message.sender is Sender.CUSTOMER:
        return Progress()
    stopped = send is not None and send.state in (SendState.FAILED, SendState.DEAD)
    read_at = conversation.customer_read_at
    if send is None or send.state in (SendState.SENT, SendState.DELIVERED):
        state = send.state.value if send else "sent"
        return Progress("read" if read_at and read_at >= message.at else state)
    error = rules.stop_text(send.reason) if stopped and send.reason else None
    return Progress(_SHOWN_STATE.get(send.state, "failed"), error, stopped)


def _match(item: Evidence, fields: dict[str, str]) -> Match:
    return Match(fields.get(item.contact_point_id, "phone"), item.rule, item.confidence)


def _ad_entries(tx: Tx, conversation: Conversation) -> list[AdEntry]:
    """The ads that this person tapped, as cards in the thread; ours with all their names."""
    business_id = conversation.business_id
    touches = [
        touch
        for touch in measurement_store.list_touches_of(tx, business_id, conversation.person_id)
        if touch.kind.value == "click"
    ]
    ads = measurement_store.list_measured_ads(tx, business_id, {touch.ad_id for touch in touches})
    ours = [
        ad_entry(f"ad-{touch.touch_id}", ads[touch.ad_id], from_micros(touch.ts))
        for touch in touches
        if touch.ad_id in ads and not ads[touch.ad_id].is_outside  # these are told of below
    ]
    told = referrals.list_referrals(tx, business_id, conversation.id)
    return ours + [_told_ad(referral) for referral in told]


def _told_ad(referral: AdReferral) -> AdEntry:
    """An ad that is not in our Ads Manager, with what the platform told of it."""
    number = str(referral.ad_number) if referral.ad_number else ""
    return AdEntry(
        id=f"ad-{referral.id}",
        at=referral.at,
        ad_id=None,
        ad_name=number,
        headline=referral.headline or number,
        body=referral.ad_text or None,
    )
