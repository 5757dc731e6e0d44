"""Pictures and tables of untrusted files, as values that the server checks.

The server reads the first bytes of a picture only, and never imports a decoder (`contatto.kit.decoders`).
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from charset_normalizer import from_bytes

from contatto.kit import errors
from contatto.kit.errors import Refused

REMAKE: Final = "contatto.kit.decoders:remake_picture"
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
    """Raise NOT_A_PHOTO for bytes that do not begin like a picture."""
    if not (raw.startswith(_MAGIC) or (raw[:4] == b"RIFF" and raw[8:12] == b"WEBP")):
        raise not_a_photo()


def read_remade(answer: bytes) -> Picture:
    """Return the picture that a child encoded; raises NOT_A_PHOTO, as its answer is not trusted."""
    if len(answer) > HEAD.size:
        kind, width, height = HEAD.unpack_from(answer)
        body = answer[HEAD.size :]
        fits = 0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE and len(body) <= 2 * MOST_KEPT
        if fits and kind < len(KINDS) and body.startswith(_BEGINS[kind]):
            return Picture(KINDS[kind], body, width, height)
    raise not_a_photo()


def not_a_photo() -> Refused:
    """Return the refusal of bytes that no decoder could read within its limits."""
    return Refused(errors.NOT_A_PHOTO, "The file is not a JPEG, PNG, WebP or GIF picture, or it is damaged.")


ROWS: Final = "contatto.kit.decoders:rows_of_workbook"
"""Function of a child that reads a workbook."""
TABLE_LIMIT: Final = 4 * 1024 * 1024
"""Largest file that is read, in bytes."""
WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
"""First bytes of XLSX and ODS, which are archives, and of XLS."""
_MARKS: Final = ((b"\xef\xbb\xbf", "utf_8"), (b"\xff\xfe", "utf_16_le"), (b"\xfe\xff", "utf_16_be"))
ENCODINGS: Final[Mapping[str, str]] = {
    "utf_8": "Unicode (UTF-8)",
    "utf_16_le": "Unicode (UTF-16)",
    "utf_16_be": "Unicode (UTF-16 BE)",
    "cp1252": "English, Deutsch, Español, Français, Italiano, Português (Windows-1252)",
    "cp1250": "Čeština, Magyar, Polski, Română (Windows-1250)",
    "cp1251": "Русский, Українська (Windows-1251)",
    "cp1253": "Ελληνικά (Windows-1253)",
    "cp1254": "Türkçe (Windows-1254)",
    "cp1255": "עברית (Windows-1255)",
    "cp1256": "العربية, فارسی, اردو (Windows-1256)",
    "cp1257": "Eesti, Latviešu, Lietuvių (Windows-1257)",
    "cp1258": "Tiếng Việt (Windows-1258)",
    "cp874": "ไทย (Windows-874)",
    "cp932": "日本語 (Shift JIS)",
    "cp949": "한국어 (Windows-949)",
    "big5": "繁體中文 (Big5)",
    "gb18030": "简体中文 (GB18030)",
}
"""Encodings that spreadsheet programs write, with the names of their languages in these languages."""
_GUESSED: Final = [name for name in ENCODINGS if not name.startswith("utf")]
_CLOSE: Final = 0.01
"""Difference of disorder between two guesses up to which languages decide."""
_OF_LANGUAGES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("en", "de", "es", "fr", "it", "pt", "nl", "da", "sv", "nb", "no", "fi", "id", "ms"), "cp1252"
    ),
    **dict.fromkeys(("cs", "hu", "pl", "ro", "sk", "sl", "hr"), "cp1250"),
    **dict.fromkeys(("ru", "uk", "bg", "sr"), "cp1251"),
    **dict.fromkeys(("et", "lv", "lt"), "cp1257"),
    **dict.fromkeys(("ar", "fa", "ur"), "cp1256"),
    **{"el": "cp1253", "tr": "cp1254", "he": "cp1255", "vi": "cp1258", "th": "cp874", "ja": "cp932"},
    **{"ko": "cp949", "zh": "gb18030", "zh_Hant": "big5"},
}


def unreadable_workbook() -> Refused:
    return Refused(errors.INVALID, "file: the file cannot be read. Save it as XLSX or CSV and try again.")


@dataclass(frozen=True, slots=True)
class TableText:
    """The text of a file, and the encoding in which it was read."""

    text: str
    encoding: str


def decode_text(raw: bytes, languages: Iterable[str] = ()) -> TableText:
    """Decode a file strictly: by its byte order mark, as UTF-8, or in the likeliest of ``ENCODINGS``.

    Args:
        raw: the file.
        languages: languages of the business, likely ones first; they decide where guesses are close.

    Raises:
        Refused: INVALID, when no encoding fits; no character is ever replaced.
    """
    marked = [(mark, encoding) for mark, encoding in _MARKS if raw.startswith(mark)]
    mark, encoding = marked[0] if marked else (b"", "utf_8")
    encodings = [encoding]
    if not marked:
        try:
            return TableText(raw.decode(), encoding)
        except UnicodeDecodeError:
            likely = [_OF_LANGUAGES[language] for language in languages if language in _OF_LANGUAGES]
            encodings = [*likely, "cp1252"]
        guesses = list(from_bytes(raw, cp_isolation=_GUESSED, preemptive_behaviour=False))
        if guesses:
            least = min(guess.chaos for guess in guesses) + _CLOSE
            close = [
                name for guess in guesses if guess.chaos <= least for name in guess.could_be_from_charset
            ]
            encodings = [next((name for name in encodings if name in close), close[0])]
    for encoding in encodings:
        try:
            return TableText(raw.removeprefix(mark).decode(encoding), encoding)
        except UnicodeDecodeError:
            continue
    raise _unreadable_text()


def change_encoding(text: str, encoding: str, target: str) -> str:
    """Return a text as it reads in another encoding; raises INVALID if its bytes are none of that."""
    if target not in ENCODINGS or encoding not in ENCODINGS:
        raise _unreadable_text()
    try:
        return text.encode(encoding).decode(target)
    except UnicodeError as error:
        raise _unreadable_text() from error


def _unreadable_text() -> Refused:
    return Refused(
        errors.INVALID,
        "file: The text cannot be read in this encoding. Choose another one, or save it as XLSX.",
    )
