"""Editing and publishing of drafts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase
from typing import Final

from contatto.forms.model import (
    CONTACTS,
    END,
    REFUSE,
    Content,
    FormConsent,
    FormQuestion,
    HiddenValue,
    Hours,
    Option,
    Problem,
    QuestionKind,
)
from contatto.forms.rules.answers import (
    AUTOCOMPLETE,
    CHOOSERS,
    DAYS_AHEAD,
    MOST_SLOTS,
    PHONES,
    USUAL,
    clean,
    count_a_day,
    is_call,
    is_link,
    label_of,
    list_zones,
    option_text,
    text_of,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.form_fields import read_whole
from contatto.kit.i18n import N_
from contatto.kit.languages import LANGUAGES, SOURCE

type Sent = Mapping[str, Sequence[str]]
"""Posted form: every field with its values."""

MOST_QUESTIONS: Final = 30
MOST_OPTIONS: Final = 20
MOST_CONSENTS: Final = 6
TEXT_KEYS: Final = {
    "headline": 120,
    "image_alt": 200,
    "intro": 600,
    "benefits": 600,
    "submit": 40,
    "thanks_title": 120,
    "thanks_text": 600,
    "end_label": 60,
    "again_title": 120,
    "again_text": 600,
    "no_fit_title": 120,
    "no_fit_text": 600,
}
"""Texts of every form with their longest lengths; benefits are one a line."""
_QUESTION_TEXTS: Final = {"label": 200, "help": 300, "message": 200}
_OPTION_LIMIT: Final = 120
_CONSENT_LIMIT: Final = 2_000
PICTURE_ID: Final = re.compile(r"[0-9a-f]{64}")
_MOST_NUMBER: Final = 10**9
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


def start_content(language: str, policy_url: str, country: str) -> Content:
    """Return the content of a new form: name, e-mail, phone, and the privacy policy."""
    empty = Content(languages=(language,), policy_url=policy_url)
    for kind in (QuestionKind.NAME, QuestionKind.EMAIL, QuestionKind.PHONE):
        empty = add_question(empty, kind)
    words = dict(empty.words[language]) | {
        "headline": "Ask for a free quote",
        "intro": "Leave your details and we will get back to you.",
        "thanks_title": "Thank you!",
        "thanks_text": "We have your details and will write to you here soon.",
        "no_fit_title": "Thank you for your interest",
        "no_fit_text": "This offer does not fit right now. You can still write to us in the chat.",
    }
    questions = tuple(
        replace(question, country=country if question.kind in PHONES else "") for question in empty.questions
    )
    return replace(empty, questions=questions, words={language: words})


def text_limits(content: Content) -> dict[str, int]:
    """Return the key of every text of this content, with its limit."""
    limits = dict(TEXT_KEYS)
    for question in content.questions:
        limits |= {f"{question.key}.{name}": most for name, most in _QUESTION_TEXTS.items()}
        limits |= {f"{question.key}.option.{option.key}": _OPTION_LIMIT for option in question.options}
    return limits | {f"{consent.key}.text": _CONSENT_LIMIT for consent in content.consents}


def edit_content(content: Content, sent: Sent, language: str, lang: str = SOURCE) -> Content:
    """Return the content with the typed values; fields that were not sent stay unchanged.

    A hidden field such as ``q:q2:sent`` marks a posted question, since an empty checkbox sends nothing.
    ``language`` is that of the typed texts, ``lang`` that of the editor, to parse numbers.

    Raises Refused: INVALID, for an unsafe address or an invalid number.
    """
    limits = text_limits(content)
    typed = {key: clean(sent[f"w:{key}"][0])[:most] for key, most in limits.items() if sent.get(f"w:{key}")}
    words = {
        text_language: {key: text for key, text in texts.items() if key in limits}
        for text_language, texts in content.words.items()
        if text_language in content.languages
    }
    if language in content.languages:
        words[language] = words.get(language, {}) | typed
    image = _line(sent, "image", content.image, 64)
    return replace(
        content,
        questions=tuple(
            _edit_question(question, sent, lang) if f"q:{question.key}:sent" in sent else question
            for question in content.questions
        ),
        consents=tuple(
            replace(consent, required=f"c:{consent.key}:required" in sent)
            if f"c:{consent.key}:sent" in sent
            else consent
            for consent in content.consents
        ),
        image=image if not image or PICTURE_ID.fullmatch(image) else content.image,
        review="review" in sent if "review:sent" in sent else content.review,
        policy_url=_link(sent, "policy_url", content.policy_url),
        end_url=_link(sent, "end_url", content.end_url),
        end_phone=_line(sent, "end_phone", content.end_phone, 40),
        words=words,
    )


def change_content(content: Content, change: str) -> Content:
    """Apply one change of a button, such as ``add:email``, ``up:q2`` or ``remove_option:q2:b``.

    An impossible change (first question up, unknown key) has no effect.
    """
    verb, _, rest = change.partition(":")
    consents, languages = content.consents, content.languages
    match verb:
        case "add" if rest in list(QuestionKind):
            return add_question(content, QuestionKind(rest))
        case "up" | "down" | "add_option" | "remove_option" | "remove":
            return replace(content, questions=_change_questions(content.questions, verb, rest))
        case "add_consent" if len(consents) < MOST_CONSENTS:
            key = f"c{max((int(consent.key[1:]) for consent in consents), default=0) + 1}"
            texts = {f"{key}.text": "I agree to be contacted about this request."}
            return _with_texts(replace(content, consents=(*consents, FormConsent(key))), texts)
        case "remove_consent":
            consents = tuple(consent for consent in consents if consent.key != rest)
        case "add_language" if rest in LANGUAGES and rest not in languages:
            languages = (*languages, rest)
        case "remove_language":  # never the first one: the others fall back to it
            languages = (languages[0], *(code for code in languages[1:] if code != rest))
    return replace(content, consents=consents, languages=languages)


def _change_questions(questions: tuple[FormQuestion, ...], verb: str, rest: str) -> tuple[FormQuestion, ...]:
    """Move or remove the question of a key, or change its options."""
    key, _, option_key = rest.partition(":")
    order = list(questions)
    at = next((place for place, question in enumerate(questions) if question.key == key), None)
    if at is None:
        return questions
    question, options = questions[at], questions[at].options
    if verb in ("up", "down"):
        to = at + (1 if verb == "down" else -1)
        if 0 <= to < len(order):
            order[at], order[to] = order[to], order[at]
    elif verb == "remove":
        del order[at]
    elif verb == "remove_option":
        remaining = tuple(option for option in options if option.key != option_key)
        order[at] = replace(question, options=remaining)
    elif question.kind in CHOOSERS and len(options) < MOST_OPTIONS:
        used = [option.key for option in options]
        fresh = next(letter for letter in ascii_lowercase if letter not in used)
        order[at] = replace(question, options=(*options, Option(fresh)))
    return tuple(order)


def add_question(content: Content, kind: QuestionKind) -> Content:
    """Append a question with its usual settings, labelled in the form's first language."""
    if len(content.questions) >= MOST_QUESTIONS:
        return content
    usual = USUAL[kind]
    key = f"q{content.made + 1}"
    options = (Option("a"), Option("b")) if kind in CHOOSERS else ()
    question = FormQuestion(
        key,
        kind,
        required=usual.required,
        autocomplete=usual.autocomplete,
        high=usual.high,
        options=options,
        hours=Hours() if kind is QuestionKind.APPOINTMENT else None,
    )
    texts = {f"{key}.label": usual.label}
    texts |= {f"{key}.option.{option.key}": f"Answer {option.key.upper()}" for option in options}
    grown = replace(content, questions=(*content.questions, question), made=content.made + 1)
    return _with_texts(grown, texts)


def _with_texts(content: Content, texts: Mapping[str, str]) -> Content:
    first = content.languages[0]
    return replace(content, words={**content.words, first: {**content.words.get(first, {}), **texts}})


def _edit_question(question: FormQuestion, sent: Sent, lang: str) -> FormQuestion:
    prefix = f"q:{question.key}"
    shown_by, _, shown_value = _line(sent, f"{prefix}:show", "", 40).partition("=")
    autocomplete = _line(sent, f"{prefix}:autocomplete", question.autocomplete, 40)
    source = _line(sent, f"{prefix}:source", question.source or "", 20)
    options, hours = list[Option](), question.hours
    for option in question.options:
        goto = _line(sent, f"{prefix}:{option.key}:goto", option.goto, 8)
        is_valid = goto in ("", END, REFUSE) or re.fullmatch(r"q\d{1,4}", goto)
        score = _number(sent, f"{prefix}:{option.key}:score", option.score, lang) or 0
        options.append(Option(option.key, score, goto if is_valid else ""))
    if hours:
        days = {
            int(day) for day in sent.get(f"{prefix}:day", ()) if day in ("1", "2", "3", "4", "5", "6", "7")
        }
        hours = Hours(
            zone=_line(sent, f"{prefix}:zone", hours.zone, 64),
            days=tuple(sorted(days)),
            opens=_line(sent, f"{prefix}:opens", hours.opens, 5),
            closes=_line(sent, f"{prefix}:closes", hours.closes, 5),
            slot_minutes=_number(sent, f"{prefix}:slot", hours.slot_minutes) or 0,
            ahead_days=_number(sent, f"{prefix}:ahead", hours.ahead_days) or 0,
        )
    return replace(
        question,
        required=f"{prefix}:required" in sent,
        prefill=f"{prefix}:prefill" in sent and question.kind in CONTACTS,
        autocomplete=autocomplete if autocomplete in AUTOCOMPLETE else "off",
        low=_number(sent, f"{prefix}:low", question.low, lang),
        high=_number(sent, f"{prefix}:high", question.high, lang),
        country=_line(sent, f"{prefix}:country", question.country, 2).upper(),
        options=tuple(options),
        show_if=shown_by if shown_by != question.key else "",
        show_value=shown_value,
        source=HiddenValue(source) if source in list(HiddenValue) else None,
        hours=hours,
    )


def set_time_zone(content: Content, zone: str) -> Content:
    """Return the content with this time zone for opening hours without one."""
    questions = tuple(
        replace(question, hours=replace(question.hours, zone=zone))
        if question.hours and not question.hours.zone
        else question
        for question in content.questions
    )
    return replace(content, questions=questions)


def _line(sent: Sent, name: str, current: str, most: int) -> str:
    values = sent.get(name)
    return " ".join(clean(values[0]).split())[:most] if values else current


def _link(sent: Sent, name: str, current: str) -> str:
    """Return an address, which may be incomplete until the form is published, but has no unsafe scheme.

    Text before a colon is a scheme, or a host with a port if it contains a dot.
    """
    typed = _line(sent, name, current, 2_000)
    scheme = _SCHEME.match(typed)
    if scheme and "." not in scheme[1] and scheme[1].lower() not in ("https", "http"):
        raise Refused(errors.INVALID, "%(field)s: give a full address that starts with https://.", field=name)
    return typed


def _number(sent: Sent, name: str, current: int | None, lang: str = SOURCE) -> int | None:
    values = sent.get(name)
    if not values:
        return current
    number = read_whole(name, values[0], lang)
    if number is not None and abs(number) >= _MOST_NUMBER:
        raise Refused(errors.INVALID, "%(field)s: the value is too large.", field=name)
    return number


_JUMPS: Final = frozenset({"", END, REFUSE})


def list_problems(content: Content) -> list[Problem]:
    """Return all problems in the order of the builder; empty when the draft can be published."""
    first = content.languages[0]
    problems: list[Problem] = []
    if not text_of(content, "headline", first):
        problems.append(Problem("headline", "Enter a headline."))
    contacts = [question for question in content.questions if question.kind in CONTACTS]
    if not contacts:
        problems.append(
            Problem("questions", "Ask for at least one contact detail. A name alone does not create a lead.")
        )
    elif not any(question.required for question in contacts):
        problems.append(Problem(contacts[0].key, "Make at least one contact detail required."))
    for place, question in enumerate(content.questions):
        problems += _question_problems(content, question, place)
    problems += [
        Problem(consent.key, "Enter what the person agrees to.")
        for consent in content.consents
        if not text_of(content, f"{consent.key}.text", first)
    ]
    if not is_link(content.policy_url):
        problems.append(Problem("policy_url", "Give the full https address of your privacy policy."))
    if not text_of(content, "thanks_title", first):
        problems.append(Problem("thanks_title", "Enter the thank-you text that people see at the end."))
    if content.end_url and not is_link(content.end_url):
        problems.append(Problem("end_url", "Give a full https address, or leave it empty."))
    if content.end_phone and not is_call(content.end_phone):
        problems.append(
            Problem("end_phone", "Enter the number with its country code, such as +65 6123 4567.")
        )
    return problems


def _question_problems(content: Content, question: FormQuestion, place: int) -> list[Problem]:
    first = content.languages[0]
    later = {next_question.key for next_question in content.questions[place + 1 :]}
    earlier = {previous_question.key: previous_question for previous_question in content.questions[:place]}
    problems: list[Problem] = []
    if question.kind is not QuestionKind.HIDDEN and not label_of(content, question, first):
        problems.append(Problem(question.key, "Enter the question."))
    if question.kind is QuestionKind.HIDDEN and question.source is None:
        problems.append(Problem(question.key, "Choose the hidden value."))
    if question.kind in CHOOSERS:
        problems += _option_problems(content, question, later)
    if question.kind is QuestionKind.APPOINTMENT:
        hours = question.hours or Hours(days=())
        a_day = count_a_day(hours)
        says = ""
        if hours.zone not in list_zones():
            says = N_("Choose the time zone of your hours.")
        elif not hours.days or not a_day or hours.ahead_days not in DAYS_AHEAD:
            says = N_("Choose at least one day, and hours long enough for one appointment.")
        elif a_day * (hours.ahead_days * len(hours.days) // 7 + 1) > MOST_SLOTS:
            says = N_("There are too many times for one list. Make appointments longer, or offer fewer days.")
        problems += [Problem(question.key, says)] if says else []
    condition = earlier.get(question.show_if)
    condition_options = {option.key for option in condition.options} if condition else set()
    if question.show_if and question.show_value not in condition_options:
        problems.append(
            Problem(
                question.key,
                "This question depends on a question that comes later. Move it down, or change "
                "its condition.",
            )
        )
    if question.low is not None and question.high is not None and question.low > question.high:
        problems.append(Problem(question.key, "The minimum is higher than the maximum."))
    return problems


def _option_problems(content: Content, question: FormQuestion, later: set[str]) -> list[Problem]:
    first = content.languages[0]
    if len(question.options) < 2:
        return [Problem(question.key, "Give at least two answers to choose from.")]
    problems: list[Problem] = []
    for option in question.options:
        if not option_text(content, question, option, first):
            problems.append(Problem(question.key, "Enter a text for each answer."))
        if option.goto not in _JUMPS and option.goto not in later:
            problems.append(Problem(question.key, "A jump can only lead to a later question."))
    return problems[:1]
