"""Stated names: "my name is …" in many languages; a name never makes a lead by itself."""

from typing import NamedTuple

from contatto.capture.fields.folding import Folded


class NameFind(NamedTuple):
    value: str
    start: int
    end: int
    rule: str


def find_name(text: Folded) -> NameFind | None:
    return None
