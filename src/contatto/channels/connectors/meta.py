"""Common parts of Meta's three platforms: signature, webhook verification, and errors.

Source: Meta for Developers, Webhooks: header ``X-Hub-Signature-256: sha256=<hex>``, HMAC-SHA256(app secret,
raw body), with no time in it; subscribing asks
``GET ?hub.mode=subscribe&hub.verify_token=…&hub.challenge=…``.
Graph API, Error handling: ``{"error": {"code", "error_subcode", "message"}}``; reading a node:
``GET /{id}?fields=…``.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

import msgspec

from contatto.channels.model import LOST_ACCESS, AccountAccess, AccountSeen, AdTap, Outgoing
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import JSON_ERRORS, read_number

GRAPH: Final = "https://graph.facebook.com"
VERSION: Final = "v23.0"
SIGNATURE_HEADER: Final = "x-hub-signature-256"
LATEST_S: Final = 4_102_444_800
"""The year 2100: a time beyond it is a mistake of unit, not a time."""
MOST_PIECES: Final = 400
"""Most events of one body. In 64 KiB a platform puts fewer; only tiny made-up ones would be more."""
SHARED_LIMIT: Final = 128
"""Most characters of what goes into every piece of a body; longer ids are of no use to anybody."""
TOO_MANY: Final = "too_many_events"
_TOKEN_REFUSED: Final = frozenset({0, 3, 10, 102, 190, *range(200, 300)})
_TOO_FAST: Final = frozenset({4, 17, 32, 341, 368, 613, 80007, 130429, 131048, 131056})
_AWAY: Final = frozenset({1, 2, 131000, 131016, 133004})
_WINDOW: Final = frozenset({131047, 2018278, 2534022})
"""Re-engagement: the person wrote too long ago (the last two are subcodes of Messenger and Instagram)."""
_NOT_REACHED: Final = frozenset({131026, 131051, 551, 1545041, 2018108})


class _Error(msgspec.Struct):
    code: int = -1
    error_subcode: int = -1


class _Answer(msgspec.Struct):
    error: _Error | None = None


class _Account(msgspec.Struct):
    """A phone number of WhatsApp (its first two fields), a page, or an account of Instagram."""

    verified_name: str = ""
    display_phone_number: str = ""
    name: str = ""
    username: str = ""


_answers: Final = msgspec.json.Decoder(_Answer)
_accounts: Final = msgspec.json.Decoder(_Account)


class MetaApp:
    """Base of Meta's connectors: webhook signature and verification."""

    def verify_signature(
        self, headers: Mapping[str, str], raw: bytes, secret: str, at: datetime, tolerance_s: int
    ) -> None:
        """Check the signature; without a signed time only the natural key reveals a duplicate.

        Raises:
            Refused: UNSIGNED.
        """
        signature = headers.get(SIGNATURE_HEADER, "")
        if not hmac.compare_digest(signature.encode(), sign_body(raw, secret).encode()):
            raise Refused(errors.UNSIGNED)

    def challenge(self, query: Mapping[str, str], verify_token: str) -> str | None:
        received_token, challenge = query.get("hub.verify_token", ""), query.get("hub.challenge", "")
        is_ours = hmac.compare_digest(received_token.encode(), verify_token.encode())
        is_sane = 0 < len(challenge) <= 200 and challenge.isprintable()
        return challenge if query.get("hub.mode") == "subscribe" and is_ours and is_sane else None

    def read_account(self, answer: HttpAnswer) -> AccountSeen | NotNow | Failed:
        """Read the name of an account, or the reason for its absence."""
        if answer.status != 200:
            return problem(answer)
        try:
            profile = _accounts.decode(answer.body)
        except JSON_ERRORS:
            return Failed("unreadable_answer")
        return AccountSeen(
            profile.verified_name or profile.name, profile.display_phone_number or profile.username
        )


class Referral(msgspec.Struct):
    """An ad as WhatsApp (``source_id``, ``ctwa_clid``) or Messenger and Instagram (``ad_id``) name it."""

    source: str = ""
    source_type: str = ""
    source_id: str = ""
    ad_id: str | int = ""
    ctwa_clid: str = ""
    headline: str = ""
    body: str = ""
    ads_context_data: dict[str, Any] | None = None


def sign_body(raw: bytes, secret: str) -> str:
    """Return the platform's signature header for a body."""
    return f"sha256={hmac.new(secret.encode(), raw, 'sha256').hexdigest()}"


def cut_body(raw: bytes, pieces: Iterator[dict[str, Any]]) -> tuple[bytes, ...]:
    """Split a body into deliveries; one without an event, or with too many, stays whole."""
    first_pieces = list(islice(pieces, MOST_PIECES + 1))
    if not 0 < len(first_pieces) <= MOST_PIECES:
        return (raw,)
    return tuple(msgspec.json.encode(piece) for piece in first_pieces)


def hashed(text: str) -> str:
    """Hash an id for a natural key where it may hold a phone number, as those of WhatsApp do."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def ad_tap(referral: Referral | None) -> AdTap | None:
    """Return the ad of a referral; None for another source, such as a link or a post."""
    if referral is None or not (referral.source_type == "ad" or referral.source == "ADS"):
        return None
    number = referral.source_id or str(referral.ad_id)
    ad_number = read_number(number)
    title = (referral.ads_context_data or {}).get("ad_title")
    headline = referral.headline or (title if isinstance(title, str) else "")
    if ad_number is None and not referral.ctwa_clid:
        return None
    return AdTap(ad_number or 0, referral.ctwa_clid[:512], headline[:200], referral.body[:500])


def message_request(out: Outgoing, body: dict[str, Any]) -> HttpRequest:
    """Return the request that sends a message of an account."""
    headers = {"Authorization": f"Bearer {out.access_token}", "Content-Type": "application/json"}
    url = f"{out.base_url}/{VERSION}/{quote(out.account, safe='')}/messages"
    return HttpRequest("POST", url, headers, msgspec.json.encode(body))


def account_request(access: AccountAccess, fields: str) -> HttpRequest:
    """Return the request that reads these fields of an account."""
    headers = {"Authorization": f"Bearer {access.access_token}"}
    url = f"{access.base_url}/{VERSION}/{quote(access.account, safe='')}?fields={fields}"
    return HttpRequest("GET", url, headers, b"")


def problem(answer: HttpAnswer) -> NotNow | Failed:
    """Interpret an answer other than 200."""
    try:
        error = _answers.decode(answer.body).error or _Error()
    except JSON_ERRORS:
        error = _Error()
    for reason, codes in (("too_fast", _TOO_FAST), ("platform_away", _AWAY)):
        if error.code in codes:
            return NotNow(reason, retry_after_s(answer))
    if answer.status == 429 or answer.status >= 500:
        return NotNow(f"http_{answer.status}", retry_after_s(answer))
    error_codes = {error.code, error.error_subcode}
    if error_codes & _WINDOW:
        return Failed("window_closed")
    if error_codes & _NOT_REACHED:
        return Failed("person_not_reached")
    if answer.status in (401, 403) or error.code in _TOKEN_REFUSED:
        return Failed(LOST_ACCESS)
    return Failed(f"platform_{error.code}" if error.code > 0 else f"http_{answer.status}")
