"""Field encryption at rest with key ids, a blind index for exact look-ups, signatures and derived ids."""

import hmac
import os
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from contatto.kit.base64url import from_base64url
from contatto.kit.ids import id_text
from contatto.kit.keys import KEY_BYTES, SecretKey

_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_NAMED_KEPT: Final = 16_384
"""Ids that are kept: a batch asks for the same one again and again."""


class Sealed(Exception):
    """A sealed value cannot be opened: its key is not here, or it was changed."""


class Vault:
    """Seals texts and bytes with AES-256-GCM and makes keyed fingerprints of them.

    A sealed value is ``version (1) | length of key id (1) | key id | nonce (12) | ciphertext and tag``. The
    tenant is authenticated with it, so a value moved to another tenant's row does not open.

    The newest key seals and signs. A retired key opens nothing and verifies nothing; but the blind index and
    derived ids always use the oldest key, retired or not: else nobody would be found again.

    Args:
        keys: key id to 32 raw bytes, newest first.
        retired: ids of those that are retired.
    """

    def __init__(self, keys: Mapping[str, bytes], retired: Collection[str] = ()) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError("a vault needs at least one key of 32 bytes")
        active, self._oldest = next(iter(keys)), list(keys.values())[-1]
        if active in retired:
            raise ValueError("the newest secret key is retired: put a new one in front of it")
        self._live = {key_id: key for key_id, key in keys.items() if key_id not in retired}
        self._ciphers = {key_id: AESGCM(_derive(key, "field")) for key_id, key in self._live.items()}
        self._cipher = self._ciphers[active]
        self._head = sealed_head(active)
        self._blind_key = _derive(self._oldest, "blind-index")
        self._signers: dict[str, Signer] = {}
        self._derived: dict[str, bytes] = {}
        self._named = lru_cache(maxsize=_NAMED_KEPT)(self._name)

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
        return self._named(namespace, name)

    def _name(self, namespace: str, name: str) -> str:
        message = f"{namespace}\0{name}".encode("utf-8", "surrogatepass")
        return id_text(hmac.digest(self.derivation_key("ids"), message, "sha256"), version=8)

    def derivation_key(self, purpose: str) -> bytes:
        """A key of its own for what must follow from the same things for ever, such as ids.

        No rotation changes it, so nothing that must end may be signed with it: see ``signer``.
        """
        known = self._derived.get(purpose)
        if known is None:
            known = self._derived[purpose] = _derive(self._oldest, f"derive:{purpose}")
        return known

    def signer(self, purpose: str) -> Signer:
        """Signs for one purpose with the newest key, and verifies with every key that is not retired."""
        known = self._signers.get(purpose)
        if known is None:
            derived = [_derive(key, f"sign:{purpose}") for key in reversed(self._live.values())]
            known = self._signers[purpose] = _StrictSigner(
                derived, key_derivation="none", algorithm=_HmacSha256()
            )
        return known


class _HmacSha256(SigningAlgorithm):
    """The library's own makes an object for each signature; one call does the same in a fifth of the time."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


class _StrictSigner(Signer):
    """Takes a signature in one spelling only: the library reads the other spellings that base64 has, too."""

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


def vault_of(keys: Sequence[SecretKey]) -> Vault:
    """The vault of the keys as they are written down."""
    return Vault({key.id: key.raw for key in keys}, {key.id for key in keys if key.is_retired})


def sealed_head(key_id: str) -> bytes:
    """How every value begins that this key sealed."""
    return bytes((_VERSION, len(key_id))) + key_id.encode()


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
