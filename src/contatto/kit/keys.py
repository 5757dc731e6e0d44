"""The secret keys of an installation: how they are written down, made, and retired."""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
KEY_FILE: Final = "secret.keys"
_RETIRED: Final = "retired"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key by its id. One that is retired opens nothing and verifies nothing."""

    id: str
    raw: bytes = field(repr=False)
    is_retired: bool = False

    def line(self) -> str:
        """The key as it is written down."""
        written = f"{self.id}:{base64.b64encode(self.raw).decode()}"
        return f"{written}:{_RETIRED}" if self.is_retired else written


def parse_keys(lines: Sequence[str]) -> tuple[SecretKey, ...]:
    """Read keys that are written ``id:base64`` or ``id:base64:retired``, newest first.

    Raises:
        ValueError: a key is malformed, or an id comes twice.
    """
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
    """Take the configured keys, else those of the key file, which is made at the first start."""
    if configured:
        return parse_keys(configured)
    path = data_dir / KEY_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        _write_keys(path, [_new_key()])
    return parse_keys(path.read_text().split())


def add_key(data_dir: Path) -> None:
    """Put a new key in front of the key file's others, which are still needed for what they sealed."""
    _replace_keys(data_dir, [_new_key(), *load_keys((), data_dir)])


def mark_retired(data_dir: Path, key_id: str) -> None:
    """Write into the key file that a key is retired."""
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
