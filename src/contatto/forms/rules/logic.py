"""Which questions a person meets, whether the offer fits them, and how many points their answers have.

Theory. The questions are walked once, in order. A question is met unless a jump passes over it or the answer
that it depends on was not given. An option of a single choice may jump forward to a question, to the end, or
to the page for people whom the offer does not fit. Only answers to questions that are met count, so what was
typed before the way changed is never taken. The page's script walks in the same way (``form-logic.js``).
"""

from dataclasses import dataclass

from contatto.forms.model import END, REFUSE, Answers, Content, FormQuestion, Kind, Option


@dataclass(frozen=True, slots=True)
class Way:
    """The keys of the questions that a person meets, and whether their answers refuse them."""

    met: tuple[str, ...]
    refused: bool


def find_way(content: Content, answers: Answers) -> Way:
    """Walk the questions with these answers."""
    met: list[str] = []
    skip_to = ""
    for question in content.questions:
        if skip_to and skip_to != question.key:
            continue
        skip_to = ""
        if not _is_wanted(question, met, answers):
            continue
        met.append(question.key)
        goto = _jump_of(question, answers)
        if goto in (END, REFUSE):
            return Way(tuple(met), goto == REFUSE)
        skip_to = goto
    return Way(tuple(met), refused=False)


def count_score(content: Content, answers: Answers) -> int:
    """The points of all options that were chosen in questions that are met."""
    met = set(find_way(content, answers).met)
    return sum(
        option.score
        for question in content.questions
        if question.key in met
        for option in chosen_options(question, answers)
    )


def chosen_options(question: FormQuestion, answers: Answers) -> list[Option]:
    given = answers.get(question.key, "")
    keys = given if isinstance(given, list) else [given]
    return [option for option in question.options if option.key in keys]


def _is_wanted(question: FormQuestion, met: list[str], answers: Answers) -> bool:
    if not question.show_if:
        return True
    given = answers.get(question.show_if, "")
    return question.show_if in met and question.show_value in (given if isinstance(given, list) else [given])


def _jump_of(question: FormQuestion, answers: Answers) -> str:
    if question.kind is not Kind.CHOICE:
        return ""
    return next((option.goto for option in chosen_options(question, answers)), "")
