"""A submission checked against its form: the answers in normal form, or a problem beside each field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from contatto.capture.model import ContactMatch
from contatto.forms.model import (
    CONTACTS,
    Answer,
    Booking,
    Content,
    FormQuestion,
    HiddenValue,
    Hours,
    Kind,
    Problem,
    Submission,
)
from contatto.forms.rules.kinds import CHOOSERS, PHONES
from contatto.forms.rules.logic import chosen_options, find_way
from contatto.forms.rules.readers import UnreadableAnswer, clean, read_text
from contatto.forms.rules.slots import TAKEN, read_slot
from contatto.forms.rules.words import label_of, option_text, text_of
from contatto.kit.i18n import N_

MISSING: Final = N_("Please answer this.")
COUNTRY_PART: Final = ".country"
"""The country of a phone number comes beside it, under the question's key with this ending."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a submission holds: answers of the questions that are met, problems, and whether it is refused."""

    answers: tuple[Answer, ...]
    problems: tuple[Problem, ...]
    refused: bool

    @property
    def name(self) -> str:
        return next((answer.value for answer in self.answers if answer.kind is Kind.NAME), "")


def check_submission(
    content: Content,
    sent: Submission,
    hidden: Mapping[HiddenValue, str],
    now: datetime,
    bookings: Sequence[Booking] = (),
) -> Checked:
    """Check what was sent; answers to questions that are not met are left out, whatever they hold.

    ``bookings`` are the times that other persons hold.
    """
    way = find_way(content, sent.answers)
    answers: list[Answer] = []
    problems: list[Problem] = []
    for question in content.questions:
        if question.key not in way.met:
            continue
        try:
            answer = _answer(content, question, sent, hidden, now, bookings)
        except UnreadableAnswer as unfit:
            own = text_of(content, f"{question.key}.message", sent.language)
            is_own = own and unfit.says != TAKEN
            problems.append(Problem(question.key, own) if is_own else _unfit(question, unfit))
        else:
            answers += [answer] if answer else []
    if not way.refused:
        problems += _missing_consents(content, sent)
    return Checked(tuple(answers), tuple(problems), way.refused)


def _unfit(question: FormQuestion, unfit: UnreadableAnswer) -> Problem:
    return Problem(question.key, unfit.says, unfit.num)


def _missing_consents(content: Content, sent: Submission) -> list[Problem]:
    return [
        Problem(consent.key, "Please agree to this to send the form.")
        for consent in content.consents
        if consent.required and consent.key not in sent.consents
    ]


def contacts_of(answers: tuple[Answer, ...]) -> tuple[ContactMatch, ...]:
    """The contact details among the answers, with the question as their evidence."""
    return tuple(
        ContactMatch(
            CONTACTS[answer.kind], answer.value, 0, len(answer.shown), answer.shown, 1.0, f"form.{answer.key}"
        )
        for answer in answers
        if answer.kind in CONTACTS
    )


def _answer(
    content: Content,
    question: FormQuestion,
    sent: Submission,
    hidden: Mapping[HiddenValue, str],
    now: datetime,
    bookings: Sequence[Booking],
) -> Answer | None:
    label = label_of(content, question, sent.language)
    if question.kind is Kind.HIDDEN:
        value = hidden.get(question.source, "") if question.source else ""
        return Answer(question.key, label, question.kind, value, value) if value else None
    if question.kind in CHOOSERS:
        return _chosen(content, question, sent, label)
    given = sent.answers.get(question.key, "")
    text = clean(given) if isinstance(given, str) else ""
    if not text:
        if question.required:
            raise UnreadableAnswer(MISSING)
        return None
    if question.kind is Kind.APPOINTMENT:
        shown, value = read_slot(question.hours or Hours(), text, now, bookings)
    else:
        shown, value = read_text(_in_country(question, sent), text, sent.language)
    return Answer(question.key, label, question.kind, shown, value)


def _in_country(question: FormQuestion, sent: Submission) -> FormQuestion:
    """The question with the country that the person picked for the number."""
    picked = sent.answers.get(f"{question.key}{COUNTRY_PART}", "")
    if question.kind not in PHONES or not isinstance(picked, str) or len(picked) != 2:
        return question
    return replace(question, country=picked.upper())


def _chosen(content: Content, question: FormQuestion, sent: Submission, label: str) -> Answer | None:
    options = chosen_options(question, sent.answers)
    if question.kind is Kind.CHOICE:
        options = options[:1]
    if not options:
        if question.required:
            raise UnreadableAnswer("Please choose an answer.")
        return None
    texts = [option_text(content, question, option, sent.language) for option in options]
    return Answer(
        question.key, label, question.kind, ", ".join(texts), " ".join(option.key for option in options)
    )
