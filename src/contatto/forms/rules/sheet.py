"""View of a form in one language."""

import json
from datetime import datetime
from typing import Any, Final

import phonenumbers

from contatto.forms.model import NOBODY, Content, FormQuestion, Prefill, QuestionKind
from contatto.forms.rules.answers import (
    PHONES,
    TEXT_LIMIT,
    consent_text,
    label_of,
    option_text,
    place_of,
    show_slots,
    shown_link,
    text_of,
)
from contatto.kit.languages import LANGUAGES, RIGHT_TO_LEFT

_INPUTS: Final = {QuestionKind.EMAIL: "email", QuestionKind.DATE: "date"}
_CONTROLS: Final = {
    QuestionKind.CHOICE: "choice",
    QuestionKind.CHOICES: "choices",
    QuestionKind.PHONE: "phone",
    QuestionKind.WHATSAPP: "phone",
    QuestionKind.LONG_TEXT: "long",
    QuestionKind.COUNTRY: "country",
    QuestionKind.APPOINTMENT: "slots",
}
_WITH_REGIONS: Final = PHONES | {QuestionKind.COUNTRY}
_MODES: Final = {QuestionKind.NUMBER: "numeric", QuestionKind.EMAIL: "email"}


def show_sheet(
    content: Content, language: str, number: int, opening: str, at: datetime, prefill: Prefill = NOBODY
) -> dict[str, Any]:
    """Return the values of ``forms/_sheet.html``; ``opening`` is the signed opening time.

    With prefilled details, all answers are shown for review before they are sent.
    """
    values = {
        question.key: prefill.details.get(question.kind, "")
        for question in content.questions
        if question.prefill
    }
    texts = {key: text_of(content, key, language) for key in _TEXTS}
    logic = [
        {
            "key": question.key,
            "jumps": {option.key: option.goto for option in question.options if option.goto}
            if question.kind is QuestionKind.CHOICE
            else {},
            "show_if": question.show_if,
            "show_value": question.show_value,
        }
        for question in content.questions
    ]
    kinds = {question.kind for question in content.questions}
    return texts | {
        "number": str(number),
        "opening": opening,
        "language": language,
        "dir": "rtl" if language in RIGHT_TO_LEFT else "ltr",
        "languages": [(code, LANGUAGES.get(code, code)) for code in content.languages],
        "benefits": [line for line in text_of(content, "benefits", language).split("\n") if line],
        "questions": [
            _question(content, question, language, at, prefill) | {"value": values.get(question.key, "")}
            for question in content.questions
            if question.kind is not QuestionKind.HIDDEN
        ],
        "consents": [
            {
                "key": consent.key,
                "required": consent.required,
                "text": consent_text(content, consent, language),
            }
            for consent in content.consents
        ],
        "logic": json.dumps(logic),
        "regions": REGIONS if kinds & _WITH_REGIONS else "",
        "review": content.review or any(values.values()),
        "prefills": bool(values),
        "is_back": prefill.is_back and bool(texts["again_title"] or texts["again_text"]),
        "policy_url": shown_link(content.policy_url),
        "end_url": shown_link(content.end_url),
        "end_phone": content.end_phone,
    }


_TEXTS: Final = (
    "headline", "image_alt", "intro", "submit", "thanks_title", "thanks_text", "end_label",
    "no_fit_title", "no_fit_text",
    "again_title", "again_text",
)  # fmt: skip
_CODES: Final = {
    region: code for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items() for region in regions
}
REGIONS: Final = " ".join(f"{region}+{_CODES[region]}" for region in sorted(phonenumbers.SUPPORTED_REGIONS))
"""Every country with its calling code, such as ``SG+65``; the page's script names them in its language."""


def picture_path(business_id: str, image: str) -> str:
    """Return the path of a form's picture; "" for none."""
    return f"/form-pictures/{business_id}/{image}" if image else ""


def _question(
    content: Content, question: FormQuestion, language: str, at: datetime, prefill: Prefill
) -> dict[str, Any]:
    is_number = question.kind is QuestionKind.NUMBER
    return {
        "key": question.key,
        "kind": question.kind.value,
        "control": _CONTROLS.get(question.kind, "line"),
        "type": "tel" if question.kind in PHONES else _INPUTS.get(question.kind, "text"),
        "mode": _MODES.get(question.kind, ""),
        "label": label_of(content, question, language),
        "help": text_of(content, f"{question.key}.help", language),
        "message": text_of(content, f"{question.key}.message", language),
        "required": question.required,
        "autocomplete": question.autocomplete or "off",
        "country": question.country,
        "low": question.low if is_number else None,
        "high": question.high if is_number else None,
        "shortest": None if is_number else question.low,
        "longest": None if is_number else min(question.high or TEXT_LIMIT, TEXT_LIMIT),
        "days": show_slots(question.hours, language, at, prefill.bookings) if question.hours else [],
        "place": place_of(question.hours.zone) if question.hours else "",
        "options": [
            {"key": option.key, "text": option_text(content, question, option, language)}
            for option in question.options
        ],
    }
