"""Pictures from strangers: known by their content and made anew, without what a camera wrote beside them.

Decoding takes place in a child (`contatto.kit.confined`); the server looks at the first bytes only, and never
loads a decoder (`contatto.kit.remaking`).
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused

REMAKE: Final = "contatto.kit.remaking:remake_picture"
"""What a child does; `read_remade` reads its answer."""
PICTURE_LIMIT: Final = 8 * 1024 * 1024
"""Largest picture that is read, in bytes."""
LONGEST_SIDE: Final = 2_048
"""Larger pictures are made smaller: this is more than a screen shows of a chat."""
MOST_KEPT: Final = 3 * 1024 * 1024
"""Bytes that a picture takes once made anew; what would take more loses its transparency."""
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
HEAD: Final = struct.Struct("!BII")
"""How the answer of a child begins: the kind of picture, its width and its height."""
KINDS: Final = ("image/jpeg", "image/png")
_BEGINS: Final = (_MAGIC[0], _MAGIC[1])


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that we wrote ourselves."""

    media_type: str
    body: bytes
    width: int
    height: int

    @property
    def digest(self) -> str:
        """The hash of its content, by which it is kept once."""
        return hashlib.sha256(self.body).hexdigest()


def check_magic(raw: bytes | bytearray) -> None:
    """Refuse what does not even begin like a picture.

    Raises:
        Refused: NOT_A_PHOTO.
    """
    if not (raw.startswith(_MAGIC) or (raw[:4] == b"RIFF" and raw[8:12] == b"WEBP")):
        raise not_a_photo()


def read_remade(answer: bytes) -> Picture:
    """The picture that a child has made; it is looked at like anything that strangers send.

    Raises:
        Refused: NOT_A_PHOTO.
    """
    if len(answer) > HEAD.size:
        kind, width, height = HEAD.unpack_from(answer)
        body = answer[HEAD.size :]
        fits = 0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE and len(body) <= 2 * MOST_KEPT
        if fits and kind < len(KINDS) and body.startswith(_BEGINS[kind]):
            return Picture(KINDS[kind], body, width, height)
    raise not_a_photo()


def not_a_photo() -> Refused:
    """What is said of bytes that no decoder could read within its limits."""
    return Refused(errors.NOT_A_PHOTO, "The file is not a JPEG, PNG, WebP or GIF picture, or it is damaged.")
