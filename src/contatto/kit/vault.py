"""Field encryption at rest: keys, sealing, blind index, signatures."""

import base64
import hashlib
import hmac
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from contatto.kit.ids import id_text
from contatto.kit.values import from_base64url

KEY_BYTES: Final = 32
KEY_FILE: Final = "secret.keys"
_RETIRED: Final = "retired"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """Key with its id; a retired one opens and verifies nothing."""

    id: str
    raw: bytes = field(repr=False)
    is_retired: bool = False

    def line(self) -> str:
        """Format the key for the key file."""
        written = f"{self.id}:{base64.b64encode(self.raw).decode()}"
        return f"{written}:{_RETIRED}" if self.is_retired else written


def parse_keys(lines: Sequence[str]) -> tuple[SecretKey, ...]:
    """Read keys ``id:base64`` or ``id:base64:retired``; raises ValueError for a wrong or second one."""
    keys: list[SecretKey] = []
    for line in lines:
        key_id, _, rest = line.partition(":")
        text, mark, state = rest.partition(":")
        raw = base64.b64decode(text, validate=True)
        is_written = 0 < len(key_id) <= 32 and key_id.isascii() and len(raw) == KEY_BYTES
        if not is_written or (mark and state != _RETIRED):
            raise ValueError(
                "a secret key is written id:base64 or id:base64:retired, with an id in ASCII and 32 bytes"
            )
        if any(key.id == key_id for key in keys):
            raise ValueError(f"two secret keys have the id {key_id}")
        keys.append(SecretKey(key_id, raw, is_retired=bool(mark)))
    return tuple(keys)


def load_keys(configured: tuple[str, ...], data_dir: Path) -> tuple[SecretKey, ...]:
    """Return the configured keys, or those of the key file, which the first start creates."""
    if configured:
        return parse_keys(configured)
    path = data_dir / KEY_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        _write_keys(path, [_new_key()])
    return parse_keys(path.read_text().split())


def add_key(data_dir: Path) -> None:
    """Prepend a new key to the key file; older keys still open their values."""
    _replace_keys(data_dir, [_new_key(), *load_keys((), data_dir)])


def mark_retired(data_dir: Path, key_id: str) -> None:
    """Mark a key in the key file as retired."""
    keys = load_keys((), data_dir)
    _replace_keys(data_dir, [replace(key, is_retired=True) if key.id == key_id else key for key in keys])


def _new_key() -> SecretKey:
    fresh = os.urandom(KEY_BYTES)
    return SecretKey(hashlib.sha256(fresh).hexdigest()[:8], fresh)


def _replace_keys(data_dir: Path, keys: Sequence[SecretKey]) -> None:
    path = data_dir / KEY_FILE
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    _write_keys(fresh, keys)
    fresh.replace(path)


def _write_keys(path: Path, keys: Sequence[SecretKey]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("".join(f"{key.line()}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())


_VERSION: Final = 2
_HALF: Final = 12
"""Bytes of each half of a nonce."""
_PER_SELECTOR: Final = 1 << 16
"""Values that a process seals with the same first half of the nonce."""
_CIPHERS_KEPT: Final = 4_096
"""Cached ciphers per column and tenant, and cached keys of nonces."""
_BLOCK_MASK: Final = (1 << 128) - 1
_BLOCK_STARTS: Final = (b"\x00\x01X\x00", b"\x00\x02X\x00")
_NAMED_KEPT: Final = 16_384
"""Cached ids, which batches derive repeatedly."""


class Sealed(Exception):
    """Error of a sealed value with a missing key, or with changed bytes."""


class ExtendedNonceCipher:
    """XAES-256-GCM: the first half of a random 192-bit nonce selects a key of AES-256-GCM.

    A process seals some values with the same first half, because a key takes longer to select than to use.
    After 2^40 values, two have the same nonce with a chance below 2^-40. With AES-GCM alone and random
    nonces it is 2^-17.

    Source: C2SP, XAES-256-GCM v1, https://c2sp.org/XAES-256-GCM.
    """

    __slots__ = ("_current", "_encrypt_blocks", "_left", "_masks")

    def __init__(self, key: bytes) -> None:
        # ECB keeps no state between whole blocks, so all threads share one context.
        blocks = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305  # the block cipher itself derives keys
        self._encrypt_blocks = blocks.encryptor().update
        zero = int.from_bytes(self._encrypt_blocks(bytes(16)))
        subkey = (zero << 1) & _BLOCK_MASK ^ (0x87 if zero >> 127 else 0)
        first, second = (subkey ^ int.from_bytes(start + bytes(_HALF)) for start in _BLOCK_STARTS)
        self._masks = first << 128 | second
        self._left = 0

    def select(self, selector: bytes) -> AESGCM:
        """Return the cipher of the key that the first half of a nonce selects."""
        both = int.from_bytes(selector)
        return AESGCM(self._encrypt_blocks((self._masks ^ (both << 128 | both)).to_bytes(32)))

    def encrypt(self, raw: bytes, associated: bytes) -> bytes:
        """Return the nonce with the ciphertext and its tag."""
        self._left -= 1  # racing threads may miss a few, which the bound allows
        if self._left < 0:
            selector = os.urandom(_HALF)
            self._current, self._left = (selector, self.select(selector)), _PER_SELECTOR
        selector, cipher = self._current
        nonce = os.urandom(_HALF)
        return selector + nonce + cipher.encrypt(nonce, raw, associated)

    def decrypt(self, sealed: bytes, associated: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            InvalidTag: the bytes or the associated data differ.
            ValueError: the bytes are too few.
        """
        cipher = _selected(self, sealed[:_HALF])
        return cipher.decrypt(sealed[_HALF : 2 * _HALF], sealed[2 * _HALF :], associated)


_selected: Final = lru_cache(maxsize=_CIPHERS_KEPT)(ExtendedNonceCipher.select)


class Vault:
    """Seals texts and bytes with XAES-256-GCM, and makes keyed fingerprints.

    A sealed value is ``version (1) | length of key id (1) | key id | nonce (24) | ciphertext and tag``. HKDF
    derives a key per tenant and column; column and row are authenticated. So a value opens only in the row,
    column, table and tenant where it was sealed.

    A column is named ``table.column``; `contatto.kit.db.tx.row_columns` lists the values that name a row.

    The newest key seals and signs. A retired key opens and verifies nothing. But the blind index and derived
    ids always use the oldest key, retired or not, so that they stay stable.

    Args:
        keys: key id to 32 raw bytes, newest first.
        retired: ids of retired keys.
    """

    def __init__(self, keys: Mapping[str, bytes], retired: Collection[str] = ()) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError("a vault needs at least one key of 32 bytes")
        active, self._oldest = next(iter(keys)), list(keys.values())[-1]
        if active in retired:
            raise ValueError("the newest secret key is retired: put a new one in front of it")
        self._live = {key_id: key for key_id, key in keys.items() if key_id not in retired}
        self._active = active
        self._head = sealed_head(active)
        self._cipher = lru_cache(maxsize=_CIPHERS_KEPT)(self._derive_cipher)
        self._blind_key = _derive(self._oldest, "blind-index")
        self._signers: dict[str, Signer] = {}
        self._derived: dict[str, bytes] = {}
        self._named = lru_cache(maxsize=_NAMED_KEPT)(self._name)

    def seal(self, text: str, tenant: str, column: str, row: str) -> bytes:
        return self.seal_bytes(text.encode("utf-8", "surrogatepass"), tenant, column, row)

    def open(self, sealed: bytes, tenant: str, column: str, row: str) -> str:
        """Open a text; raises Sealed as `open_bytes` does."""
        return self.open_bytes(sealed, tenant, column, row).decode("utf-8", "surrogatepass")

    def seal_bytes(self, raw: bytes, tenant: str, column: str, row: str) -> bytes:
        cipher = self._cipher(self._active, tenant, column)
        return self._head + cipher.encrypt(raw, _associated(column, row))

    def open_bytes(self, sealed: bytes, tenant: str, column: str, row: str) -> bytes:
        """Return the bytes.

        Raises:
            Sealed: the key is missing, the value was changed, or it was sealed for another place.
        """
        if len(sealed) < 2 or sealed[0] != _VERSION:
            raise Sealed("this is no sealed value")
        split = 2 + sealed[1]
        key_id = sealed[2:split].decode("ascii", "replace")
        if key_id not in self._live:
            raise Sealed("no key for this value")
        try:
            return self._cipher(key_id, tenant, column).decrypt(sealed[split:], _associated(column, row))
        except (InvalidTag, ValueError) as error:
            raise Sealed("the value was changed or belongs to another place") from error

    def _derive_cipher(self, key_id: str, tenant: str, column: str) -> ExtendedNonceCipher:
        return ExtendedNonceCipher(_derive(self._live[key_id], f"field:{column}:{tenant}"))

    def is_current(self, sealed: bytes) -> bool:
        """Return whether the newest key sealed a value."""
        return sealed.startswith(self._head)

    def blind(self, text: str, tenant: str) -> bytes:
        """Return a 16-byte keyed fingerprint: equal for equal texts of one tenant, and one-way."""
        message = f"{tenant}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._blind_key, message, "sha256")[:16]

    def named_id(self, namespace: str, name: str) -> str:
        """Derive a stable id from a namespace and a name; without the key names cannot be guessed.

        Source: RFC 9562, section 5.8 (UUIDv8).
        """
        return self._named(namespace, name)

    def _name(self, namespace: str, name: str) -> str:
        message = f"{namespace}\0{name}".encode("utf-8", "surrogatepass")
        return id_text(hmac.digest(self.derivation_key("ids"), message, "sha256"), version=8)

    def derivation_key(self, purpose: str) -> bytes:
        """Return a stable key for a purpose, such as derived ids.

        No rotation changes it, so signatures that must expire need ``signer``.
        """
        key = self._derived.get(purpose)
        if key is None:
            key = self._derived[purpose] = _derive(self._oldest, f"derive:{purpose}")
        return key

    def signer(self, purpose: str) -> Signer:
        """Return a signer that signs with the newest key, and verifies with every key that is not retired."""
        signer = self._signers.get(purpose)
        if signer is None:
            derived = [_derive(key, f"sign:{purpose}") for key in reversed(self._live.values())]
            signer = self._signers[purpose] = _StrictSigner(
                derived, key_derivation="none", algorithm=_HmacSha256()
            )
        return signer


def row_key(*values: object) -> str:
    """Return the name of a row that several values identify."""
    return "\0".join(map(str, values))


def _associated(column: str, row: str) -> bytes:
    # PostgreSQL stores U+FFFD instead of NUL, so both must name the same row.
    return f"{column}\0{row.replace(chr(0), chr(0xFFFD))}".encode("utf-8", "surrogatepass")


class _HmacSha256(SigningAlgorithm):
    """HMAC in one call, five times faster than the library's own."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


class _StrictSigner(Signer):
    """Signer that accepts only the canonical base64 of a signature."""

    def verify_signature(self, value: str | bytes, sig: str | bytes) -> bool:
        try:
            from_base64url(sig.decode() if isinstance(sig, bytes) else sig)
        except ValueError:
            return False
        return super().verify_signature(value, sig)

    def unsign(self, signed_value: str | bytes) -> bytes:
        try:
            return super().unsign(signed_value)
        except UnicodeEncodeError as error:
            raise BadSignature("no text that we signed") from error


def sealed_head(key_id: str) -> bytes:
    """Return the first bytes of all values that a key sealed."""
    return bytes((_VERSION, len(key_id))) + key_id.encode()


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
