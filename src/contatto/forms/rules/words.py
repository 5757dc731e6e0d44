"""Texts of a form by language, falling back to its first one, and the language that fits a person."""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from contatto.forms.model import Consent, Content, FormQuestion, Option
from contatto.kit.languages import RIGHT_TO_LEFT

_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def text_of(content: Content, key: str, language: str) -> str:
    """A text in a language, else in the form's first one, else empty."""
    own = content.words.get(language, {}).get(key, "")
    return own or content.words.get(content.languages[0], {}).get(key, "")


def label_of(content: Content, question: FormQuestion, language: str) -> str:
    return text_of(content, f"{question.key}.label", language)


def option_text(content: Content, question: FormQuestion, option: Option, language: str) -> str:
    return text_of(content, f"{question.key}.option.{option.key}", language)


def consent_text(content: Content, consent: Consent, language: str) -> str:
    return text_of(content, f"{consent.key}.text", language)


def direction_of(language: str) -> str:
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"


def best_language(content: Content, wanted: Iterable[str]) -> str:
    """The first wanted language that the form has, a dialect counting as its language."""
    by_base: dict[str, str] = {}
    for have in content.languages:
        by_base.setdefault(have.lower().partition("-")[0], have)
    exact = {have.lower(): have for have in content.languages}
    for tag in wanted:
        found = exact.get(tag.lower()) or by_base.get(tag.lower().partition("-")[0])
        if found:
            return found
    return content.languages[0]


def accepted_languages(header: str) -> list[str]:
    """The languages of an ``Accept-Language`` header, most wanted first. Source: RFC 9110, section 12.5.4."""
    weighed: list[tuple[float, str]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        if _TAG.fullmatch(tag):
            weighed.append((_weight(weight), tag))
    return [tag for _, tag in sorted(weighed, key=lambda each: -each[0])]


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](?:\.\d{1,3})?", text) else 1.0


def hash_text(text: str) -> str:
    """The SHA-256 of a consent's text, as it stands in the receipt."""
    return hashlib.sha256(text.encode()).hexdigest()
