"""What keeps a draft from being published: each problem names the place in the builder."""

from typing import Final

from contatto.forms.model import CONTACTS, END, REFUSE, Content, FormQuestion, Hours, Kind, Option, Problem
from contatto.forms.rules.kinds import CHOOSERS
from contatto.forms.rules.links import is_call, is_link
from contatto.forms.rules.slots import DAYS_AHEAD, MOST_SLOTS, count_a_day, list_zones
from contatto.forms.rules.words import consent_text, label_of, option_text, text_of
from contatto.kit.i18n import N_

_JUMPS: Final = frozenset({"", END, REFUSE})


def list_problems(content: Content) -> list[Problem]:
    """All that is missing or wrong, in the order of the builder; empty when the draft can be published."""
    first = content.languages[0]
    found: list[Problem] = []
    if not text_of(content, "headline", first):
        found.append(Problem("headline", "Enter a headline."))
    found += _contact_problems(content)
    for place, question in enumerate(content.questions):
        found += _question_problems(content, question, place)
    found += [
        Problem(consent.key, "Enter what the person agrees to.")
        for consent in content.consents
        if not consent_text(content, consent, first)
    ]
    return found + _end_problems(content)


def _contact_problems(content: Content) -> list[Problem]:
    contacts = [each for each in content.questions if each.kind in CONTACTS]
    if not contacts:
        return [
            Problem("questions", "Ask for at least one contact detail. A name alone does not create a lead.")
        ]
    if not any(each.required for each in contacts):
        return [Problem(contacts[0].key, "Make at least one contact detail required.")]
    return []


def _question_problems(content: Content, question: FormQuestion, place: int) -> list[Problem]:
    first = content.languages[0]
    later = {each.key for each in content.questions[place + 1 :]}
    earlier = {each.key: each for each in content.questions[:place]}
    found: list[Problem] = []
    if question.kind is not Kind.HIDDEN and not label_of(content, question, first):
        found.append(Problem(question.key, "Enter the question."))
    if question.kind is Kind.HIDDEN and question.source is None:
        found.append(Problem(question.key, "Choose the hidden value."))
    if question.kind in CHOOSERS:
        found += _option_problems(content, question, later)
    if question.kind is Kind.APPOINTMENT:
        found += _hours_problems(question)
    if question.show_if and not _has_option(earlier.get(question.show_if), question.show_value):
        found.append(
            Problem(
                question.key,
                "This question depends on a question that comes later. Move it down, or change "
                "its condition.",
            )
        )
    if question.low is not None and question.high is not None and question.low > question.high:
        found.append(Problem(question.key, "The minimum is higher than the maximum."))
    return found


def _hours_problems(question: FormQuestion) -> list[Problem]:
    hours = question.hours or Hours(days=())
    a_day = count_a_day(hours)
    if hours.zone not in list_zones():
        says = N_("Choose the time zone of your hours.")
    elif not hours.days or not a_day or hours.ahead_days not in DAYS_AHEAD:
        says = N_("Choose at least one day, and hours long enough for one appointment.")
    elif a_day * (hours.ahead_days * len(hours.days) // 7 + 1) > MOST_SLOTS:
        says = N_("There are too many times for one list. Make appointments longer, or offer fewer days.")
    else:
        return []
    return [Problem(question.key, says)]


def _option_problems(content: Content, question: FormQuestion, later: set[str]) -> list[Problem]:
    first = content.languages[0]
    if len(question.options) < 2:
        return [Problem(question.key, "Give at least two answers to choose from.")]
    found: list[Problem] = []
    for option in question.options:
        if not option_text(content, question, option, first):
            found.append(Problem(question.key, "Enter a text for each answer."))
        if not _leads_on(option, later):
            found.append(Problem(question.key, "A jump can only lead to a later question."))
    return found[:1]


def _leads_on(option: Option, later: set[str]) -> bool:
    return option.goto in _JUMPS or option.goto in later


def _has_option(question: FormQuestion | None, option_key: str) -> bool:
    return question is not None and any(option.key == option_key for option in question.options)


def _end_problems(content: Content) -> list[Problem]:
    found: list[Problem] = []
    if not is_link(content.policy_url):
        found.append(Problem("policy_url", "Give the full https address of your privacy policy."))
    if not text_of(content, "thanks_title", content.languages[0]):
        found.append(Problem("thanks_title", "Enter the thank-you text that people see at the end."))
    if content.end_url and not is_link(content.end_url):
        found.append(Problem("end_url", "Give a full https address, or leave it empty."))
    if content.end_phone and not is_call(content.end_phone):
        found.append(Problem("end_phone", "Enter the number with its country code, such as +65 6123 4567."))
    return found
