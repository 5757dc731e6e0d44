"""Field encryption at rest with key ids, a blind index for exact look-ups, and keys for signatures."""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
KEY_FILE: Final = "secret.keys"


class Sealed(Exception):
    """A sealed value cannot be opened: its key is not here, or it was changed."""


class Vault:
    """Seals texts and bytes with AES-256-GCM and makes keyed fingerprints of them.

    A sealed value is ``version (1) | length of key id (1) | key id | nonce (12) | ciphertext and tag``. The
    tenant is authenticated with it, so a value moved to another tenant's row does not open. The blind index
    always uses the oldest key: a rotation must not lose the equality of old and new rows.

    Args:
        keys: key id to 32 raw bytes, newest first; the first one seals.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys.values()):
            raise ValueError("a vault needs at least one key of 32 bytes")
        self._ciphers = {key_id: AESGCM(_derive(key, "field")) for key_id, key in keys.items()}
        active = next(iter(keys))
        self._cipher = self._ciphers[active]
        self._head = bytes((_VERSION, len(active))) + active.encode()
        oldest = list(keys.values())[-1]
        self._blind_key = _derive(oldest, "blind-index")
        self._oldest = oldest
        self._signing: dict[str, bytes] = {}

    def seal(self, text: str, tenant: str) -> bytes:
        return self.seal_bytes(text.encode("utf-8", "surrogatepass"), tenant)

    def open(self, sealed: bytes, tenant: str) -> str:
        """Give the text back.

        Raises:
            Sealed: the key is missing, the value was changed, or it belongs to another tenant.
        """
        return self.open_bytes(sealed, tenant).decode("utf-8", "surrogatepass")

    def seal_bytes(self, raw: bytes, tenant: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, raw, tenant.encode())

    def open_bytes(self, sealed: bytes, tenant: str) -> bytes:
        """Give the bytes back.

        Raises:
            Sealed: the key is missing, the value was changed, or it belongs to another tenant.
        """
        if len(sealed) < 2 or sealed[0] != _VERSION:
            raise Sealed("this is no sealed value")
        split = 2 + sealed[1]
        cipher = self._ciphers.get(sealed[2:split].decode("ascii", "replace"))
        if cipher is None:
            raise Sealed("no key for this value")
        nonce, body = sealed[split : split + _NONCE_BYTES], sealed[split + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, body, tenant.encode())
        except (InvalidTag, ValueError) as error:
            raise Sealed("the value was changed or belongs to another tenant") from error

    def reseal(self, sealed: bytes, tenant: str) -> bytes:
        """The same value, sealed with the newest key.

        Raises:
            Sealed: it cannot be opened.
        """
        return self.seal_bytes(self.open_bytes(sealed, tenant), tenant)

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key sealed a value."""
        return sealed.startswith(self._head)

    def blind(self, text: str, tenant: str) -> bytes:
        """A 16-byte keyed fingerprint: equal texts of one tenant are equal, nothing else can be read off."""
        message = f"{tenant}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._blind_key, message, "sha256")[:16]

    def named_id(self, namespace: str, name: str) -> str:
        """The same id for the same name at the same place, every time; nobody without the key can try names.

        Source: RFC 9562, section 5.8 (UUIDv8).
        """
        message = f"{namespace}\0{name}".encode("utf-8", "surrogatepass")
        made = bytearray(hmac.digest(self.signing_key("ids"), message, "sha256")[:16])
        made[6], made[8] = 0x80 | made[6] & 0x0F, 0x80 | made[8] & 0x3F
        return str(UUID(bytes=bytes(made)))

    def signing_key(self, purpose: str) -> bytes:
        """A key of its own for one kind of signature, such as tracking links."""
        key = self._signing.get(purpose)
        if key is None:
            key = self._signing[purpose] = _derive(self._oldest, f"sign:{purpose}")
        return key


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=purpose.encode()).derive(key)


def parse_keys(lines: tuple[str, ...]) -> dict[str, bytes]:
    """Read ``id:base64`` pairs.

    Raises:
        ValueError: a pair is malformed, an id comes twice or a key has not 32 bytes.
    """
    keys: dict[str, bytes] = {}
    for line in lines:
        key_id, _, text = line.partition(":")
        key = base64.b64decode(text, validate=True)
        if not 0 < len(key_id) <= 32 or not key_id.isascii() or len(key) != _KEY_BYTES:
            raise ValueError("a secret key is written id:base64, with an id in ASCII and 32 bytes")
        if key_id in keys:
            raise ValueError(f"two secret keys have the id {key_id}")
        keys[key_id] = key
    return keys


def load_keys(configured: tuple[str, ...], data_dir: Path) -> dict[str, bytes]:
    """Take the configured keys, else those of the key file, which is made at the first start."""
    if configured:
        return parse_keys(configured)
    path = data_dir / KEY_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        _write_keys(path, [_new_key_line()])
    return parse_keys(tuple(path.read_text().split()))


def add_key(data_dir: Path) -> None:
    """Put a new key in front of the key file's others; they stay, for what they sealed and for the index."""
    path = data_dir / KEY_FILE
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    _write_keys(fresh, [_new_key_line(), *path.read_text().split()])
    fresh.replace(path)


def _new_key_line() -> str:
    fresh = os.urandom(_KEY_BYTES)
    return f"{hashlib.sha256(fresh).hexdigest()[:8]}:{base64.b64encode(fresh).decode()}"


def _write_keys(path: Path, lines: list[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
