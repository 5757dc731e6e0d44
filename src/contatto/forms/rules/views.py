"""Forms shown to people; fields, sample answers and lead files for programs."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import phonenumbers

from contatto.forms.model import (
    CONTACTS,
    NOBODY,
    Content,
    FormQuestion,
    FormVersion,
    Prefill,
    QuestionAnswer,
    QuestionKind,
)
from contatto.forms.rules.answers import (
    CHOOSERS,
    PHONES,
    TEXT_LIMIT,
    is_link,
    label_of,
    option_text,
    show_slots,
    text_of,
)
from contatto.kit.api_types import api_time
from contatto.kit.languages import LANGUAGES, RIGHT_TO_LEFT
from contatto.leads.model import ContactPoint, Lead
from contatto.leads.rules.records import CHAT_FIELDS, ad_data, chat_data, source_of
from contatto.measurement.model import MeasuredAd

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
    """Return the values of the template ``forms/_sheet.html``, a form to fill in.

    ``number`` identifies the version or draft, ``opening`` is the signed opening time. With prefilled
    details, people review all answers before they send them.
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
                "text": text_of(content, f"{consent.key}.text", language),
            }
            for consent in content.consents
        ],
        "logic": json.dumps(logic),
        "regions": REGIONS if kinds & _WITH_REGIONS else "",
        "review": content.review or any(values.values()),
        "prefills": bool(values),
        "is_back": prefill.is_back and bool(texts["again_title"] or texts["again_text"]),
        "policy_url": content.policy_url if is_link(content.policy_url) else "",
        "end_url": content.end_url if is_link(content.end_url) else "",
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
    """Return the template values of a question."""
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
        # Asia/Ho_Chi_Minh is Ho Chi Minh
        "place": question.hours.zone.rpartition("/")[2].replace("_", " ") if question.hours else "",
        "options": [
            {"key": option.key, "text": option_text(content, question, option, language)}
            for option in question.options
        ],
    }


TEST_NAME: Final = "Test lead"
_SAMPLES: Final = {
    QuestionKind.NAME: TEST_NAME,
    QuestionKind.CITY: "Test city",
    QuestionKind.POSTCODE: "00000",
    QuestionKind.COUNTRY: "SG",
    QuestionKind.DATE: "2026-01-01",
    QuestionKind.APPOINTMENT: "2026-01-01T09:00+00:00",
    QuestionKind.HIDDEN: "test",
}


def field_labels(content: Content) -> dict[str, str]:
    """Return the labels of a form in its first language, by question; equal ones are numbered."""
    labels: dict[str, str] = {}
    for question in content.questions:
        label = label_of(content, question, content.languages[0]) or question.key
        duplicates = sum(label == used_label.partition(" (")[0] for used_label in labels.values())
        labels[question.key] = f"{label} ({duplicates + 1})" if duplicates else label
    return labels


def answer_data(
    content: Content, answers: Iterable[QuestionAnswer], wrong: Collection[str] = frozenset()
) -> dict[str, str]:
    """Return answers by the label of their field, each in its normal form; choices in words.

    Contact details among the ``wrong`` values are left out.
    """
    labels = field_labels(content)
    return {
        labels.get(answer.key, answer.label): answer.shown if answer.kind in CHOOSERS else answer.value
        for answer in without_wrong(answers, wrong)
    }


def without_wrong(answers: Iterable[QuestionAnswer], wrong: Collection[str]) -> tuple[QuestionAnswer, ...]:
    """Return answers without the contact details that a member marked wrong."""
    return tuple(answer for answer in answers if answer.kind not in CONTACTS or answer.value not in wrong)


def sample_answers(content: Content, number: int) -> tuple[QuestionAnswer, ...]:
    """Return the sample answers of a form; its contact details are fictional.

    Source: RFC 2606 (example.com), NANP (numbers 555-0100 to 555-0199 are for fiction).
    """
    language = content.languages[0]
    answers = []
    for question in content.questions:
        label = label_of(content, question, language)
        if question.kind in CHOOSERS and question.options:
            option = question.options[0]
            shown, value = option_text(content, question, option, language), option.key
        else:
            shown = value = sample_text(question, number)
        answers.append(QuestionAnswer(question.key, label, question.kind, shown, value))
    return tuple(answers)


def sample_email(number: int) -> str:
    return f"test-{number}@example.com"


def sample_phone(number: int) -> str:
    return f"+120255501{number % 100:02}"


def sample_text(question: FormQuestion, number: int) -> str:
    if question.kind is QuestionKind.EMAIL:
        return sample_email(number)
    if question.kind in PHONES:
        return sample_phone(number)
    if question.kind is QuestionKind.NUMBER:
        return str(question.low or 1)
    if question.kind in _SAMPLES:
        return _SAMPLES[question.kind]
    return f"test_{number % 10_000}" if question.kind in CONTACTS else "Test answer"


HEAD: Final = (
    "lead id", "created_time", "ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id",
    "campaign_name", "form_id", "form_name",
)  # fmt: skip
_OF_AD: Final = ("ad_id", "ad_name", "adgroup_id", "adgroup_name", "campaign_id", "campaign_name")


@dataclass(frozen=True, slots=True)
class LeadEntry:
    """Row of a file: a lead with its ad, contact details, and form, if any."""

    lead: Lead
    ad: MeasuredAd | None
    points: Sequence[ContactPoint] = ()
    version: FormVersion | None = None
    answers: tuple[QuestionAnswer, ...] = ()


def lead_table(
    version: FormVersion | None, entries: Iterable[LeadEntry], *, with_chat: bool
) -> list[Sequence[str]]:
    """Return the head and rows of a lead file: common columns, questions of ``version``, test flag.

    ``with_chat`` adds the contact details and the source, for leads that an ad earned.
    """
    labels = list(field_labels(version.content).values()) if version else []
    chat_columns = (*CHAT_FIELDS, "lead_source") if with_chat else ()
    rows: list[Sequence[str]] = [(*HEAD, *labels, *chat_columns, "is_test")]
    for entry in entries:
        lead, of_ad, source = entry.lead, ad_data(entry.ad), source_of(entry.lead)
        form = (str(entry.version.number), entry.version.name) if entry.version else ("", "")
        own = (str(lead.number), api_time(lead.created_at), *(of_ad[name] for name in _OF_AD), *form)
        data = answer_data(entry.version.content, entry.answers) if entry.version else {}
        chat = chat_data(lead, entry.points) | {"lead_source": source.value if source else ""}
        cells = [*(data.get(label, "") for label in labels), *(chat.get(name, "") for name in chat_columns)]
        rows.append((*own, *cells, "TRUE" if lead.is_test else "FALSE"))
    return rows
