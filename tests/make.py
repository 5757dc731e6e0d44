"""Builders with defaults: each makes one thing, whole and valid, and a test names only what it is about."""

import itertools
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewMember
from contatto.accounts.auth import member_caller
from contatto.accounts.model import Business, Caller, Member, Role
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.capture.actions import CompanyData, turn_on_capture
from contatto.capture.model import ContactMatch, Field
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.connectors.tiktok import sign_body
from contatto.channels.model import ChannelAccount, Platform
from contatto.channels.store import CONNECTORS
from contatto.inbox.store.conversations import APPEND_RECEIPT, receipt_row
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.ids import new_id, new_number
from contatto.kit.values import micros
from contatto.leads.actions.records import upsert_leads
from contatto.leads.model import Lead, Origin, Signal
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.model import (
    Conversion,
    ConversionKind,
    CountedEvent,
    Goal,
    Impression,
    MeasuredAd,
    Tap,
    Touch,
    TouchKind,
)
from contatto.reports.actions.reports import DayCounter

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOON_MS = micros(NOON) // 1_000
COMPANY = CompanyData("Kopi and Co", "", "https://kopi.example.com/privacy")
OPEN_ID = "tt-business-1"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Shop:
    """A business with an account on each channel."""

    business_id: str
    tiktok: ChannelAccount
    webchat: ChannelAccount


def business(tx: Tx, name: str = "Kopi and Co") -> Business:
    return accounts.create_business(tx, name)


def member(
    tx: Tx,
    business_id: str,
    email: str = "owner@example.com",
    role: Role = Role.OWNER,
    name: str = "Owner",
) -> Member:
    new = NewMember(email, name, role)
    return accounts.add_member(tx, business_id, new, "not a hash")  # type: ignore[arg-type]


def caller(role: Role = Role.OWNER) -> Caller:
    return Caller("b1", "Kopi", "m1", "Owner", "owner@example.com", role, ROLE_PERMISSIONS[role])  # type: ignore[arg-type]


def channel(
    tx: Tx,
    business_id: str,
    platform: Platform = Platform.TIKTOK,
    *,
    external_id: str = "",
    capture_on: bool = True,
) -> ChannelAccount:
    account = connect_account(tx, business_id, NewAccount(platform, external_id, "Kopi", "kopi", "SG"))
    if capture_on:
        turn_on_capture(tx, business_id, account.id, COMPANY)
    return account


def shop(tx: Tx, *, capture_on: bool = True, open_id: str = OPEN_ID) -> Shop:
    owner = business(tx)
    return Shop(
        owner.id,
        channel(tx, owner.id, external_id=open_id, capture_on=capture_on),
        channel(tx, owner.id, Platform.WEBCHAT, capture_on=capture_on),
    )


def ad(business_id: str = "b1", **changes: Any) -> MeasuredAd:
    """An ad as measuring knows it: 7 days after a click, 1 day after a view."""
    number = next(_numbers)
    made = MeasuredAd(
        ad_id=new_id(),
        ad_number=new_number(),
        ad_name=f"Ad {number}",
        ad_group_id=new_id(),
        ad_group_number=new_number(),
        ad_group_name=f"Group {number}",
        campaign_id=new_id(),
        campaign_number=new_number(),
        campaign_name="January",
        business_id=business_id,
        ad_account_id="ad-account",
        channel_account_id="0190a5a1-7c2e-7aaa-8000-000000000001",
        goal=Goal.LEAD,
        click_window_s=7 * 86_400,
        view_window_s=86_400,
        timezone="Asia/Singapore",
        currency="SGD",
        landing_path="/chat/1",
        headline="Tastings",
        text="Write to us",
    )
    return replace(made, **changes)


def published_ad(tx: Tx, business_id: str, **changes: Any) -> MeasuredAd:
    made = ad(business_id, **changes)
    measurement.publish_ad(tx, made)
    return made


def touch(
    of: MeasuredAd,
    kind: TouchKind = TouchKind.CLICK,
    at: datetime = NOON,
    person_id: str = "p1",
    touch_id: int | None = None,
) -> Touch:
    number = new_number() if touch_id is None else touch_id
    return measurement.stamp_touch(of, kind, person_id, micros(at), number, 0)


def record_touch(tx: Tx, touch: Touch) -> bool:
    """Record a tap, or a view without a charge, as tracking links do; say whether it is new."""
    if touch.kind is TouchKind.CLICK:
        return measurement.record_taps(tx, [Tap(Impression(touch, 0))])[0]
    is_new = not measured.list_known_touches(tx, touch.business_id, [touch.touch_id])
    measured.append_touches(tx, [row_of(touch)])
    if is_new:
        place = (touch.ts, touch.business_id, touch.ad_account_id, touch.day)
        measurement.mark_days(tx, CountedEvent.TOUCH, [place])
    return is_new


def count_days_ahead(tx: Tx) -> int:
    """Count some days for reports and return their number; call it again until it is 0."""
    counter = DayCounter()
    for count in range(10):
        save = counter.read_next(tx)
        if save is None:
            return count
        save(tx)
    return 10


def conversion(kind: ConversionKind = ConversionKind.LEAD, at: datetime = NOON, **changes: Any) -> Conversion:
    made = Conversion(new_number(), "b1", "p1", kind, new_id(), micros(at))
    return replace(made, **changes)


def contact(value: str = "+6591234567", field: Field = Field.PHONE, start: int = 0) -> ContactMatch:
    return ContactMatch(field, value, start, start + len(value), value, 0.9, "test.rule")


def signal(business_id: str, *contacts: ContactMatch, **changes: Any) -> Signal:
    made = Signal(
        business_id=business_id,
        person_id="p1",
        channel_account_id="account-1",
        conversation_id="conversation-1",
        origin=Origin.CHAT,
        source_id=new_id(),
        at=NOON,
        contacts=contacts,
        stated_name=None,
        profile_name="mei",
    )
    return replace(made, **changes)


def lead(tx: Tx, business_id: str, *contacts: ContactMatch, **changes: Any) -> Lead:
    made = upsert_leads(tx, [signal(business_id, *(contacts or (contact(),)), **changes)])[0]
    assert made is not None
    return made


def said(text: str = "Hi", user: str = "u1", at_ms: int = NOON_MS, **changes: Any) -> dict[str, Any]:
    """The content of ``im_receive_msg``."""
    return {
        "from": user, "to": "kopi", "from_user": {"id": user, "role": "personal_account"},
        "conversation_id": f"conversation of {user}", "message_id": f"message {next(_numbers)}",
        "timestamp": at_ms, "type": "text", "text": {"body": text},
    } | changes  # fmt: skip


def answered(text: str = "Hello", user: str = "u1", at_ms: int = NOON_MS, **changes: Any) -> dict[str, Any]:
    """The content of ``im_send_msg``: what the business wrote on the platform itself."""
    return said(text, user, at_ms) | {
        "from": "kopi", "to": user, "from_user": {"id": OPEN_ID}, "to_user": {"id": user},
    } | changes  # fmt: skip


def tapped(of: MeasuredAd, user: str = "u1", at_ms: int = NOON_MS, **changes: Any) -> dict[str, Any]:
    """The content of ``im_referral_msg``."""
    return {
        "from": user, "from_user": {"id": user}, "conversation_id": f"conversation of {user}",
        "timestamp": at_ms, "referral": {"source": "ad", "ad": {"ad_id": str(of.ad_number)}},
    } | changes  # fmt: skip


def read_up_to(at_ms: int, user: str = "u1", **changes: Any) -> dict[str, Any]:
    """The content of ``im_mark_read_msg``."""
    return {
        "from_user": {"id": user}, "conversation_id": f"conversation of {user}", "timestamp": at_ms,
        "read": {"last_read_timestamp": at_ms},
    } | changes  # fmt: skip


def webhook(event: str, content: object, **changes: Any) -> bytes:
    """The body of a webhook; a ``content`` that is text goes in as it is."""
    text = content if isinstance(content, str) else json.dumps(content)
    envelope = {"client_key": "key", "event": event, "create_time": NOON_MS // 1_000, "user_openid": OPEN_ID,
                "content": text}  # fmt: skip
    return json.dumps(envelope | changes).encode()


def signed(body: bytes, secret: str, at: datetime) -> dict[str, str]:
    return {"TikTok-Signature": sign_body(body, secret, int(at.timestamp()))}


def receipt(tx: Tx, business_id: str, body: bytes, platform: Platform = Platform.TIKTOK) -> None:
    """Store a delivery as the webhook's door does."""
    row = receipt_row(tx.vault, business_id, CONNECTORS[platform], body, tx.now)
    tx.execute(APPEND_RECEIPT[tx.connection.dialect.name], row)


def caller_of(member: Member, of: Business) -> Caller:
    """A member's session as a caller."""
    return member_caller(member, of)
