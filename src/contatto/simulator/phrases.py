"""What people say, by language, and the words that handles and passwords are made of; read from `lines/`."""

import random
import tomllib
from functools import cache
from importlib.resources import files


@cache
def phrases_of(language: str) -> dict[str, list[str]]:
    """The lines of a language by their kind, such as ``openers`` or ``phones``."""
    text = (files("contatto.simulator") / "lines" / f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def say(rng: random.Random, language: str, kind: str, contact: str = "") -> str:
    """One line of a kind, with a contact detail or with digits that reach nobody put in."""
    line = rng.choice(phrases_of(language)[kind])
    while "{n}" in line:
        line = line.replace("{n}", str(rng.randint(12, 4_800)), 1)
    return line.replace("{contact}", contact)


def handle(rng: random.Random) -> str:
    """A handle such as ``sunny_kettle41``."""
    words = phrases_of("words")
    return f"{rng.choice(words['first'])}_{rng.choice(words['second'])}{rng.randint(1, 99)}"
