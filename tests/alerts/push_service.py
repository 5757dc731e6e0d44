"""A push service on a real socket, and a browser with keys of its own, which opens what it is sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contatto.kit.values import from_base64url, to_base64url


@dataclass
class Sent:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class PushService:
    """What came in. ``plays`` are the statuses of the next answers; after them everything is taken."""

    url: str = ""
    plays: list[int] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def to(self, path: str) -> list[Sent]:
        return [each for each in self.sent if each.path == path]


@contextmanager
def running_push_service() -> Iterator[PushService]:
    service = PushService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = service.plays.pop(0) if service.plays else 201
            service.sent.append(Sent(self.path, headers, body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class OwnBrowser:
    """A browser that subscribed; it opens messages by the words of RFC 8188 and 8291 alone."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.secret = b"sixteen of secre"

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def form(self) -> dict[str, str]:
        """What its page hands over."""
        return {
            "endpoint": self.endpoint,
            "public_key": to_base64url(self.point),
            "secret": to_base64url(self.secret),
        }

    def open(self, body: bytes) -> dict[str, Any]:
        salt, length = body[:16], body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        first = _mac(self.secret, self.key.exchange(ec.ECDH(), theirs))
        secret = _mac(first, b"WebPush: info\0" + self.point + sender + b"\1")
        drawn = _mac(salt, secret)
        key = _mac(drawn, b"Content-Encoding: aes128gcm\0\1")[:16]
        nonce = _mac(drawn, b"Content-Encoding: nonce\0\1")[:12]
        text = AESGCM(key).decrypt(nonce, sealed, None)
        assert text.endswith(b"\x02")
        told: dict[str, Any] = json.loads(text[:-1])
        return told


def _mac(key: bytes, text: bytes) -> bytes:
    made = hmac.HMAC(key, hashes.SHA256())
    made.update(text)
    return made.finalize()


def claims_of(authorization: str) -> tuple[dict[str, Any], str]:
    """What a sender says of itself, and its key, if the signature is that of the key. Source: RFC 8292."""
    scheme, _, rest = authorization.partition(" ")
    given = dict(part.strip().split("=", 1) for part in rest.split(","))
    signed, _, signature = given["t"].rpartition(".")
    raw = from_base64url(signature)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), from_base64url(given["k"]))
    both = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key.verify(both, signed.encode(), ec.ECDSA(hashes.SHA256()))
    head, claims = (json.loads(from_base64url(part)) for part in signed.split("."))
    assert (scheme, head["alg"], len(raw)) == ("vapid", "ES256", 64)
    return claims, given["k"]
