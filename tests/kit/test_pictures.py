"""Pictures from strangers: known by their content, made anew, refused when they lie."""

import zipfile
from io import BytesIO

import pytest
from PIL import Image

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.pictures import LONGEST_SIDE, Picture, remake_picture


def drawn(
    kind: str = "JPEG", size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object
) -> bytes:
    out = BytesIO()
    Image.new(mode, size, 128).save(out, kind, **options)
    return out.getvalue()


def looked_at(picture: Picture) -> Image.Image:
    return Image.open(BytesIO(picture.body))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_each_kind_becomes_a_picture_of_our_own(kind: str) -> None:
    picture = remake_picture(drawn(kind))
    assert (picture.media_type, picture.width, picture.height) == ("image/jpeg", 40, 20)
    assert looked_at(picture).format == "JPEG"


def test_clear_parts_stay_clear() -> None:
    picture = remake_picture(drawn("PNG", mode="RGBA"))
    assert picture.media_type == "image/png"
    assert looked_at(picture).mode == "RGBA"


def test_place_and_time_of_the_camera_are_gone_and_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x0132] = "2026:01:01 12:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    picture = remake_picture(drawn(exif=exif))
    assert (picture.width, picture.height) == (20, 40)
    assert not looked_at(picture).getexif()


def test_a_large_one_is_made_smaller() -> None:
    picture = remake_picture(drawn(size=(5_000, 100)))
    assert picture.width == LONGEST_SIDE
    assert picture.height == round(100 * LONGEST_SIDE / 5_000)


def test_a_second_file_behind_the_first_is_cut_off() -> None:
    behind = BytesIO()
    with zipfile.ZipFile(behind, "w") as archive:
        archive.writestr("evil.html", "<script>alert(1)</script>")
    picture = remake_picture(drawn() + behind.getvalue())
    assert b"script" not in picture.body
    assert b"PK" not in picture.body


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
}


@pytest.mark.parametrize("name", LIARS)
def test_what_is_no_picture_is_refused_whatever_it_says(name: str) -> None:
    with pytest.raises(Refused) as refused:
        remake_picture(LIARS[name])
    assert refused.value.code is errors.NOT_A_PHOTO
