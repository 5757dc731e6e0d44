"""Web Push: message encryption, VAPID signatures, and answers of push services.

Source: RFC 8030 (protocol), RFC 8188 and 8291 (encryption), RFC 8292 (VAPID).
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contatto.kit.outbound.model import Done, Failed, HttpAnswer, NotNow, RetryPlan, Step, retry_after_s
from contatto.kit.values import SealedIn, from_base64url, to_base64url

PLAN: Final = RetryPlan((10, 60, 300, 1_800), timedelta(hours=4))
TTL_S: Final = 4 * 3_600
"""Time for which the push service keeps a message for an offline browser."""
EXPIRED_STATUSES: Final = frozenset({404, 410})
"""The browser ended its subscription. Source: RFC 8030, section 7.3."""
NOT_OURS: Final = 403
"""The subscription belongs to another VAPID key. Source: RFC 8292, section 4.2."""
POINT_BYTES: Final = 65
SECRET_BYTES: Final = 16
VAPID_KEY: Final = "web-push"
"""Purpose of the derived key; browsers are bound to it, so no rotation changes it."""
_ROW: Final = ("id", "member_id")
"""Key columns of a saved endpoint, to which its sealed values are bound."""
_RECORD_BYTES: Final = 4_096
_JWT_LASTS: Final = timedelta(hours=12)
_CURVE_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the curve P-256. Source: NIST SP 800-186, section 3.2.1.3."""


@dataclass(frozen=True, slots=True)
class PushEndpoint:
    """Push endpoint of a browser, with its public key and secret in base64url."""

    endpoint: Annotated[str, SealedIn("push_browsers.endpoint", _ROW)] = field(repr=False)
    public_key: Annotated[str, SealedIn("push_browsers.public_key", _ROW)] = field(repr=False)
    secret: Annotated[str, SealedIn("push_browsers.secret", _ROW)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class MessageKey:
    """Random key pair and salt of one message."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    salt: bytes


def vapid_key(raw: bytes) -> ec.EllipticCurvePrivateKey:
    """Derive the VAPID key pair from 32 secret bytes."""
    return ec.derive_private_key(int.from_bytes(raw) % (_CURVE_ORDER - 1) + 1, ec.SECP256R1())


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Encode the public key as an uncompressed point."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def seal_message(text: bytes, browser: PushEndpoint, message_key: MessageKey) -> bytes:
    """Encrypt a message for one browser, in one record. Source: RFC 8291, section 3.4."""
    point = from_base64url(browser.public_key)
    browser_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    sender_key = public_point(message_key.key)
    shared = message_key.key.exchange(ec.ECDH(), browser_key)
    input_key = _hkdf(from_base64url(browser.secret), b"WebPush: info\0" + point + sender_key, 32, shared)
    key = _hkdf(message_key.salt, b"Content-Encoding: aes128gcm\0", 16, input_key)
    nonce = _hkdf(message_key.salt, b"Content-Encoding: nonce\0", 12, input_key)
    head = message_key.salt + struct.pack("!IB", _RECORD_BYTES, len(sender_key)) + sender_key
    return head + AESGCM(key).encrypt(nonce, text + b"\x02", None)


def _hkdf(salt: bytes, info: bytes, length: int, secret: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def push_headers(
    endpoint: str, key: ec.EllipticCurvePrivateKey, contact: str, now: datetime
) -> Mapping[str, str]:
    """Return the headers of a message, signed for its push service. Source: RFC 8292, section 2 and 3."""
    split = urlsplit(endpoint)
    claims: dict[str, Any] = {
        "aud": f"{split.scheme}://{split.netloc}",
        "exp": int((now + _JWT_LASTS).timestamp()),
    }
    if contact:
        claims["sub"] = contact
    head, content = (
        to_base64url(json.dumps(part, separators=(",", ":")).encode())
        for part in ({"typ": "JWT", "alg": "ES256"}, claims)
    )
    signed = f"{head}.{content}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = to_base64url(r.to_bytes(32) + s.to_bytes(32))
    return {
        "Authorization": f"vapid t={signed}.{signature}, k={to_base64url(public_point(key))}",
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(TTL_S),
        "Urgency": "high",
    }


def read_service_answer(answer: HttpAnswer) -> Step:
    """Interpret the answer of a push service; the caller removes browsers that are gone.

    Source: RFC 8030, sections 5 and 8.4.
    """
    if 200 <= answer.status < 300 or answer.status in EXPIRED_STATUSES:
        return Done()
    if answer.status == 429 or answer.status >= 500:
        return NotNow(str(answer.status), retry_after_s(answer))
    return Failed(str(answer.status))
