"""Mutations by a seeded chance: of texts, forms, JSON and files, as one tries who looks for what breaks."""

import io
import random
from typing import Any, Final

from PIL import Image

from tests.hostile import evil
from tests.security.attempts import Attempt, Pairs

EVIL: Final = evil("fuzz")
TEXTS: Final = (
    "", " ", "\0", "a\0b", EVIL, "'; DROP TABLE leads; --", "\" OR 1=1 --", "%00", "%s%n", "${7*7}",
    "{{7*7}}", "../../x",
    "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "\r\nSet-Cookie: a=b",
    "=cmd|' /C calc'!A0",
    "²", "١٢٣", "９", "\u202eabc", "\ufeff", "\ufffd", "e\u0301" * 50, "🙂" * 300, "x" * 20_000, "[" * 2_000,
    "0", "-1", "1e999", "NaN", "Infinity", "1" * 19, "9" * 19, "9223372036854775808",
    "-9223372036854775809", "0x10", "1.5",
    "true", "null", "[]", "{}", "2026-02-30", "9999-12-31", "0001-01-01T00:00:00",
    "9999-12-31T23:59:59+14:00",
    "http://127.0.0.1/", "https://[::1]/", "https://user:pass@example.com@127.0.0.1/", "+" + "1" * 40,
    "@" * 300, "\ud800",
)  # fmt: skip
LEAVES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**63, -(2**63) - 1, 10**40, 1e308, [], {}, [[]], {"": ""},
    [None] * 2_000,
    {"a": {"b": {"c": {"d": [1, "x", None]}}}}, {str(number): number for number in range(500)},
)  # fmt: skip
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "PPM")


def is_sendable(text: str) -> bool:
    """Whether a form can carry it at all: half of a surrogate pair is no UTF-8."""
    return not any(0xD800 <= ord(letter) < 0xE000 for letter in text)


class Fuzzer:
    """Draws; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - it has to be drawn again

    def text(self, like: str = "") -> str:
        chance = self.chance
        if chance.random() < 0.6 or not like:
            return chance.choice(TEXTS)
        place = chance.randrange(len(like))
        more = chance.choice([chr(chance.randrange(1, 0xD800)), chance.choice(TEXTS)[:50], like])
        return like[:place] + more + like[place + chance.randrange(2) :]

    def pairs(self, pairs: Pairs) -> Pairs:
        """Some fields with other values, some twice, some gone, some under names that nobody knows."""
        made: list[tuple[str, str]] = []
        for name, value in pairs:
            drawn = self.chance.random()
            if drawn < 0.08:
                continue
            changed = self.text(value) if drawn < 0.45 else value
            if drawn > 0.95:
                made.append((name, self.text(value)))
            made.append((name, changed))
        if self.chance.random() < 0.2:
            made.append((self.text("name"), self.text()))
        return tuple((name, value) for name, value in made if is_sendable(name + value))

    def body(self, body: Any) -> Any:
        """JSON with some of its leaves replaced, some keys gone and some added."""
        if isinstance(body, dict):
            made = {key: self.body(value) for key, value in body.items() if self.chance.random() > 0.06}
            if self.chance.random() < 0.1:
                made[self.text("key")] = self.leaf()
            return made
        if isinstance(body, list):
            return [self.body(value) for value in body] * (1 if self.chance.random() > 0.05 else 40)
        return self.leaf(body) if self.chance.random() < 0.35 else body

    def leaf(self, like: Any = None) -> Any:
        if self.chance.random() < 0.5:
            return self.text(like if isinstance(like, str) else "")
        return self.chance.choice(LEAVES)

    def attempt(self, attempt: Attempt) -> Attempt:
        return Attempt(
            attempt.way,
            attempt.path,
            self.pairs(attempt.query),
            None if attempt.form is None else self.pairs(attempt.form),
            self.body(attempt.body),
            None if attempt.file is None else self.file(attempt.file),
            None if attempt.raw is None else self.picture(),
        )

    def file(self, raw: bytes) -> bytes:
        """Bytes with some changed, cut, doubled or put in."""
        made = bytearray(raw)
        for _ in range(self.chance.randrange(1, 9)):
            place = self.chance.randrange(len(made) + 1)
            drawn = self.chance.random()
            if drawn < 0.6 and made:
                made[min(place, len(made) - 1)] = self.chance.randrange(256)
            elif drawn < 0.75:
                del made[place : place + self.chance.randrange(1, 40)]
            elif drawn < 0.9:
                made[place:place] = self.chance.randbytes(self.chance.randrange(1, 20))
            else:
                made += made[:place]
        return bytes(made)

    def picture(self) -> bytes:
        """A picture of some format, damaged in most cases; its head often claims a size that it has not."""
        out, size = io.BytesIO(), (self.chance.randrange(1, 90), self.chance.randrange(1, 90))
        frames = [
            Image.new("RGB", size, self.chance.randrange(1 << 24))
            for _ in range(self.chance.choice((1, 1, 3)))
        ]
        kind = self.chance.choice(FORMATS)
        more = (
            {"save_all": True, "append_images": frames[1:]} if kind in ("GIF", "WEBP", "TIFF", "PNG") else {}
        )
        frames[0].save(out, kind, **more)
        made = bytearray(out.getvalue())
        if self.chance.random() < 0.4 and len(made) > 40:
            place = self.chance.randrange(4, 40)
            made[place : place + 4] = self.chance.choice(
                (b"\x7f\xff\xff\xff", b"\xff" * 4, b"\x00\x00\x00\x00")
            )
        return bytes(made) if self.chance.random() < 0.1 else self.file(bytes(made))
