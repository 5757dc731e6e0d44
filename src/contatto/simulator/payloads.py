"""TikTok's business messaging webhooks as the platform would send them.

Source: TikTok Business API v1.3, Business Messaging webhooks: an envelope whose ``content`` is JSON text.
"""

from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Thread:
    """Between whom: the app, the business's open id and handle, the person's open id and handle."""

    app_id: str
    business_open_id: str
    business_handle: str
    person_open_id: str
    person_handle: str

    @property
    def conversation_id(self) -> str:
        return f"conv_{self.person_open_id}"


def received_message(thread: Thread, message_id: str, text: str, at_ms: int) -> bytes:
    """The person wrote to the business."""
    content = _between(thread, at_ms, from_person=True) | _text(message_id, text)
    return _envelope(thread, "im_receive_msg", content, at_ms)


def sent_message(thread: Thread, message_id: str, text: str, at_ms: int) -> bytes:
    """The business wrote to the person, in the platform's own app."""
    content = _between(thread, at_ms, from_person=False) | _text(message_id, text)
    return _envelope(thread, "im_send_msg", content, at_ms)


def opened_from_ad(thread: Thread, advertiser_id: str, ad_id: str, ad_name: str, at_ms: int) -> bytes:
    """The person opened the chat by a tap on an ad."""
    ad = {"advertiser_id": advertiser_id, "ad_id": ad_id, "ad_name": ad_name, "timestamp": at_ms}
    content = _between(thread, at_ms, from_person=True) | {"referral": {"source": "ad", "ad": ad}}
    return _envelope(thread, "im_referral_msg", content, at_ms)


def read_by_person(thread: Thread, at_ms: int) -> bytes:
    """The person has read all up to a moment."""
    content = _between(thread, at_ms, from_person=True) | {"read": {"last_read_timestamp": at_ms}}
    return _envelope(thread, "im_mark_read_msg", content, at_ms)


def _between(thread: Thread, at_ms: int, *, from_person: bool) -> dict[str, Any]:
    person = {"id": thread.person_open_id, "role": "personal_account"}
    business = {"id": thread.business_open_id, "role": "business_account"}
    sides = [(thread.person_handle, person), (thread.business_handle, business)]
    (sender, from_user), (receiver, to_user) = sides if from_person else reversed(sides)
    return {
        "from": sender,
        "to": receiver,
        "unique_identifier": thread.person_open_id,
        "from_user": from_user,
        "to_user": to_user,
        "conversation_id": thread.conversation_id,
        "timestamp": at_ms,
    }


def _text(message_id: str, text: str) -> dict[str, Any]:
    return {"message_id": message_id, "type": "text", "text": {"body": text}, "is_follower": False}


def _envelope(thread: Thread, event: str, content: dict[str, Any], at_ms: int) -> bytes:
    envelope = {
        "client_key": thread.app_id,
        "event": event,
        "create_time": at_ms // 1000,
        "user_openid": thread.business_open_id,
        "content": msgspec.json.encode(content).decode(),
    }
    return msgspec.json.encode(envelope)
