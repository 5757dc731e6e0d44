"""Decoders of pictures and workbooks, for sandboxed processes only.

Decoders take much memory, and run foreign code on untrusted bytes. No module of the server imports this.
"""

import warnings
from io import BytesIO
from typing import Final

import msgspec
from PIL import Image, ImageColor, ImageOps, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin
from python_calamine import CalamineError, CalamineWorkbook

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.untrusted_files import HEAD, KINDS, LONGEST_SIDE, MOST_KEPT, unreadable_workbook

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
_AT_HAND: Final = (ImageColor, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""Pillow imports these, and what it calls usual, when it first needs them; in a child that is too late."""
Image.preinit()


def remake_picture(raw: bytes) -> bytes:
    """Decode a picture and encode it again: upright, small enough for a chat, without animation.

    The result contains pixels only, no metadata of the camera and no appended file. `read_remade` reads it.

    Raises NOT_A_PHOTO, when it has more pixels than its format may have.
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
    out, is_png = BytesIO(), upright.has_transparency_data
    if is_png:
        upright = upright.convert("RGBA")
        upright.save(out, "PNG", optimize=True)
        is_png = out.tell() <= MOST_KEPT
        if not is_png:  # it loses its transparency
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
            out = BytesIO()
    if not is_png:
        upright.convert("RGB").save(out, "JPEG", quality=85, optimize=True)
    kind = KINDS.index("image/png" if is_png else "image/jpeg")
    return HEAD.pack(kind, upright.width, upright.height) + out.getvalue()


MOST_LINES: Final = 50_000
"""Lines that are read of a workbook; what may be imported of it is for its reader to say."""


def rows_of_workbook(raw: bytes) -> bytes:
    """Return the first sheet that is not empty as JSON: a list of lists of texts. Run this in a child.

    Raises INVALID.
    """
    try:
        book = CalamineWorkbook.from_filelike(BytesIO(raw))
        for name in book.sheet_names:
            rows = book.get_sheet_by_name(name).to_python(nrows=MOST_LINES)
            if rows:
                return msgspec.json.encode([[_text(cell) for cell in row] for row in rows])
    except (CalamineError, OSError, ValueError) as error:
        raise unreadable_workbook() from error
    raise Refused(errors.INVALID, "file: the file is empty.")


def _text(cell: object) -> str:
    """Write a cell as text; a whole number, perhaps a phone, loses the point that spreadsheets keep."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)
