"""Pictures from strangers: known by their content and made anew, without what a camera wrote beside them."""

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from contatto.kit import errors
from contatto.kit.errors import Refused

PICTURE_LIMIT: Final = 8 * 1024 * 1024
"""Largest picture that is read, in bytes."""
MOST_PIXELS: Final = 40_000_000
LONGEST_SIDE: Final = 2_048
"""Larger pictures are made smaller: this is more than a screen shows of a chat."""
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
_SAYS: Final = "The file is no JPEG, PNG, WebP or GIF picture, or it is damaged."


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


def remake_picture(raw: bytes) -> Picture:
    """Decode a picture and write it anew, upright and no larger than a chat needs; only one of an animation.

    What is written holds pixels only: no place and time of the camera, no second file behind the first.

    Raises:
        Refused: NOT_A_PHOTO, when the bytes are no picture of a known kind, whatever their name says.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a picture that the decoder warns of is not worth the risk
            with Image.open(BytesIO(raw), formats=_FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise Refused(errors.NOT_A_PHOTO, "The picture has more than 40 million pixels.")
                opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
                upright = ImageOps.exif_transpose(opened)
                upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
                return _write(upright)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Warning) as error:
        raise Refused(errors.NOT_A_PHOTO, _SAYS) from error


def _write(image: Image.Image) -> Picture:
    out = BytesIO()
    is_clear = image.has_transparency_data
    if is_clear:
        image.convert("RGBA").save(out, "PNG", optimize=True)
    else:
        image.convert("RGB").save(out, "JPEG", quality=85, optimize=True)
    kind = "image/png" if is_clear else "image/jpeg"
    return Picture(kind, out.getvalue(), image.width, image.height)
