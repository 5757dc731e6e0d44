"""Pictures from strangers: known by their content, made anew, refused when they lie."""

import asyncio
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from contatto.kit import errors
from contatto.kit.decoders import MOST_PIXELS
from contatto.kit.errors import Refused
from contatto.kit.sandbox import SandboxPool
from contatto.kit.untrusted_files import LONGEST_SIDE, MOST_KEPT, Picture, read_remade
from contatto.kit.uploads import Uploads


@pytest.fixture(scope="module")
def confined() -> Iterator[SandboxPool]:
    pool = SandboxPool(clock_s=60)  # on a busy machine a child waits for its turn
    yield pool
    pool.close()


@pytest.fixture
def remade(confined: SandboxPool) -> Any:
    """Make a picture anew as the edges do: in a child."""
    return lambda raw: asyncio.run(Uploads(confined).remake(raw, "a member"))


def drawn(
    kind: str = "JPEG", size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object
) -> bytes:
    out = BytesIO()
    Image.new(mode, size, 128).save(out, kind, **options)
    return out.getvalue()


def looked_at(picture: Picture) -> Image.Image:
    return Image.open(BytesIO(picture.body))


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "GIF"])
def test_each_kind_becomes_a_picture_of_our_own(remade: Any, kind: str) -> None:
    picture = remade(drawn(kind))
    assert (picture.media_type, picture.width, picture.height) == ("image/jpeg", 40, 20)
    assert looked_at(picture).format == "JPEG"


def test_clear_parts_stay_clear(remade: Any) -> None:
    picture = remade(drawn("PNG", mode="RGBA"))
    assert picture.media_type == "image/png"
    assert looked_at(picture).mode == "RGBA"


def test_place_and_time_of_the_camera_are_gone_and_it_stands_upright(remade: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x0132] = "2026:01:01 12:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    picture = remade(drawn(exif=exif))
    assert (picture.width, picture.height) == (20, 40)
    assert not looked_at(picture).getexif()


def test_a_large_one_is_made_smaller(remade: Any) -> None:
    picture = remade(drawn(size=(5_000, 100)))
    assert picture.width == LONGEST_SIDE
    assert picture.height == round(100 * LONGEST_SIDE / 5_000)


def test_a_second_file_behind_the_first_is_cut_off(remade: Any) -> None:
    behind = BytesIO()
    with zipfile.ZipFile(behind, "w") as archive:
        archive.writestr("evil.html", "<script>alert(1)</script>")
    picture = remade(drawn() + behind.getvalue())
    assert b"script" not in picture.body
    assert b"PK" not in picture.body


def png_header(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says how large it is, and holds next to nothing."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (head, *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


def webp_header(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: 46 bytes at most, whatever its size."""
    out = BytesIO()
    Image.new("RGB", (16, 16)).save(out, "WEBP", lossless=True)
    raw = bytearray(out.getvalue())
    bits = int.from_bytes(raw[21:25], "little") & ~((1 << 28) - 1)
    raw[21:25] = (bits | (width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(raw)


@cache
def much() -> bytes:
    """What unpacks to 90 MB."""
    return zlib.compress(bytes(90_000_000), 1)


LIARS = {
    "nothing": b"",
    "HTML": b"<html><script>alert(1)</script></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "HTML behind a magic number": b"\xff\xd8\xff\xe0<script>alert(1)</script>",
    "GIF that is a script": b"GIF89a/*" + b"alert(1)" * 50,
    "half a picture": drawn(size=(400, 400))[:600],
    "a program": b"MZ" + bytes(200),
    "a PDF": b"%PDF-1.7\n1 0 obj\n",
    "a TIFF": drawn("TIFF"),
    "a picture of very many pixels": drawn("PNG", size=(20_000, 2_001), mode="1"),
    "a PNG of 2**31": png_header(1 << 31, 1 << 31),
    "a PNG of 2**31 - 1": png_header((1 << 31) - 1, (1 << 31) - 1),
    "a PNG of 2**32 - 1": png_header((1 << 32) - 1, 1),
    "a PNG without pixels": png_header(0, 10),
    "a PNG that unpacks to much": png_header(10, 10, (b"zTXt", b"a\0\0" + much())),
    "a PNG with much colour": png_header(10, 10, (b"iCCP", b"a\0\0" + much())),
    "a WebP of 40 million pixels": webp_header(6_320, 6_320),
    "a WebP of 268 million pixels": webp_header(16_383, 16_383),
    "a GIF of 4 billion pixels": b"GIF89a\xff\xff\xff\xff\x80\0\0"
    + bytes(6)
    + b",\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;",
    "a JPEG of 4 billion pixels": drawn()[:2]
    + b"\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x11\0\2\x11\0\3\x11\0"
    + drawn()[2:],
}


@pytest.mark.parametrize("name", LIARS)
def test_what_is_no_picture_is_refused_whatever_it_says(remade: Any, name: str) -> None:
    with pytest.raises(Refused) as refused:
        remade(LIARS[name])
    assert refused.value.code is errors.NOT_A_PHOTO


@pytest.mark.parametrize("kind", MOST_PIXELS)
def test_the_most_pixels_of_a_format_fit_into_the_memory_of_a_child(remade: Any, kind: str) -> None:
    side = int(MOST_PIXELS[kind] ** 0.5)
    progressive = {"progressive": True, "subsampling": 2}
    options = {"JPEG": progressive, "MPO": progressive, "WEBP": {"lossless": True, "method": 0}}
    mode = {"PNG": "RGBA", "GIF": "P"}.get(kind, "RGB")
    picture = remade(drawn(kind, size=(side, side), mode=mode, **options.get(kind, {})))
    assert (picture.width, picture.height) == (LONGEST_SIDE, LONGEST_SIDE)


def test_a_clear_picture_that_would_take_much_loses_its_transparency(remade: Any) -> None:
    noise = Image.effect_noise((1_500, 1_500), 90)
    out = BytesIO()
    Image.merge("RGBA", (noise, noise.rotate(90), noise.rotate(180), noise.rotate(270))).save(out, "PNG")
    assert out.tell() > MOST_KEPT
    picture = remade(out.getvalue())
    assert picture.media_type == "image/jpeg"
    assert len(picture.body) <= MOST_KEPT


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0" * 9,
     struct.pack("!BII", 2, 1, 1) + b"\xff\xd8\xff", struct.pack("!BII", 0, 1, 1) + b"<script>",
     struct.pack("!BII", 1, 1, 0) + b"\x89PNG\r\n\x1a\n", struct.pack("!BII", 0, 9_999, 1) + b"\xff\xd8\xff"],
)  # fmt: skip
def test_what_a_child_gives_is_looked_at_like_all_that_strangers_send(answer: bytes) -> None:
    with pytest.raises(Refused):
        read_remade(answer)
