"""Pictures from strangers: known by their content and made anew, without what a camera wrote beside them.

Decoding takes place in a child (`contatto.kit.confined`); the server looks at the first bytes only.
"""

import hashlib
import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image, ImageColor, ImageOps, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin

from contatto.kit import errors
from contatto.kit.errors import Refused

PICTURE_LIMIT: Final = 8 * 1024 * 1024
"""Largest picture that is read, in bytes."""
LONGEST_SIDE: Final = 2_048
"""Larger pictures are made smaller: this is more than a screen shows of a chat."""
MOST_PIXELS: Final = {
    "JPEG": 52_000_000,
    "MPO": 52_000_000,
    "PNG": 32_000_000,
    "GIF": 32_000_000,
    "WEBP": 16_000_000,
}
"""Pixels of each format that fit into a child's memory: 17 bytes each in WebP, 8 in PNG; a JPEG is made
smaller while it is decoded. Phones make JPEG of 50 million, or MPO, which is a
JPEG with others behind it; screenshots are PNG."""
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
MOST_KEPT: Final = 3 * 1024 * 1024
"""Bytes that a picture takes once made anew; what would take more loses its transparency."""
_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
_HEAD: Final = struct.Struct("!BII")
_KINDS: Final = ("image/jpeg", "image/png")
_BEGINS: Final = (_MAGIC[0], _MAGIC[1])
_AT_HAND: Final = (ImageColor, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""Pillow imports these, and what it calls usual, when it first needs them; in a child that is too late."""
Image.preinit()


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


def remake_picture(raw: bytes) -> bytes:
    """Decode a picture and write it anew, upright and no larger than a chat needs; only one of an animation.

    What is written holds pixels only: no place and time of the camera, no second file behind the first.
    To be run in a child; `read_remade` reads what it gives.

    Raises:
        Refused: NOT_A_PHOTO, when there are more pixels than its format may have.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a picture that the decoder warns of is not worth the risk
        with Image.open(BytesIO(raw), formats=_FORMATS) as opened:
            most = MOST_PIXELS[opened.format or ""]
            if opened.width * opened.height > most:
                raise Refused(
                    errors.NOT_A_PHOTO,
                    "The picture has more than %(most)s million pixels.",
                    most=most // 1_000_000,
                )
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            # Before it is turned, since turning makes a copy.
            opened.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            upright = ImageOps.exif_transpose(opened)
    kind, body = _write(upright)
    return _HEAD.pack(_KINDS.index(kind), upright.width, upright.height) + body


def _write(image: Image.Image) -> tuple[str, bytes]:
    out = BytesIO()
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image.save(out, "PNG", optimize=True)
        if out.tell() <= MOST_KEPT:
            return "image/png", out.getvalue()
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
        out = BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=85, optimize=True)
    return "image/jpeg", out.getvalue()


def read_remade(answer: bytes) -> Picture:
    """The picture that a child has made; it is looked at like anything that strangers send.

    Raises:
        Refused: NOT_A_PHOTO.
    """
    if len(answer) > _HEAD.size:
        kind, width, height = _HEAD.unpack_from(answer)
        body = answer[_HEAD.size :]
        fits = 0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE and len(body) <= 2 * MOST_KEPT
        if fits and kind < len(_KINDS) and body.startswith(_BEGINS[kind]):
            return Picture(_KINDS[kind], body, width, height)
    raise not_a_photo()


def not_a_photo() -> Refused:
    """What is said of bytes that no decoder could read within its limits."""
    return Refused(errors.NOT_A_PHOTO, "The file is no JPEG, PNG, WebP or GIF picture, or it is damaged.")
