"""What a welcome message of an ad account may hold (P4)."""

from collections.abc import Sequence
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused

LONGEST_CONTENT: Final = 200
MOST_QUESTIONS: Final = 3
LONGEST_QUESTION: Final = 70
LONGEST_ANSWER: Final = 500


def check_welcome(content: str, questions: Sequence[tuple[str, str]]) -> None:
    """Refuse a welcome message that is too long, or whose questions are too few, too many or too long.

    Raises:
        Refused: INVALID.
    """
    _check_length("welcome_message.content", content, LONGEST_CONTENT)
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise Refused(
            errors.INVALID,
            "%(field)s: enter 1 to %(most)s questions.",
            field="welcome_message.suggested_questions",
            most=MOST_QUESTIONS,
        )
    for number, (question, answer) in enumerate(questions):
        place = f"welcome_message.suggested_questions.{number}"
        _check_length(f"{place}.question", question, LONGEST_QUESTION)
        _check_length(f"{place}.answer", answer, LONGEST_ANSWER)


def _check_length(field: str, text: str, most: int) -> None:
    if not 0 < len(text) <= most:
        raise Refused(errors.INVALID, "%(field)s: use 1 to %(most)s characters.", field=field, most=most)
