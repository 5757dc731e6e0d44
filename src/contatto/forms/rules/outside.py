"""A form and its answers as programs outside are shown them: fields by their labels, and test answers."""

from collections.abc import Collection, Iterable
from typing import Final

from contatto.forms.model import CONTACTS, Answer, Content, FormQuestion, Kind
from contatto.forms.rules.kinds import CHOOSERS, PHONES
from contatto.forms.rules.words import label_of, option_text

TEST_NAME: Final = "Test lead"
_SAMPLES: Final = {
    Kind.NAME: TEST_NAME,
    Kind.CITY: "Test city",
    Kind.POSTCODE: "00000",
    Kind.COUNTRY: "SG",
    Kind.DATE: "2026-01-01",
    Kind.APPOINTMENT: "2026-01-01T09:00+00:00",
    Kind.HIDDEN: "test",
}


def field_labels(content: Content) -> dict[str, str]:
    """The fields of a form: labels in its first language, by question; equal ones are numbered."""
    labels: dict[str, str] = {}
    for question in content.questions:
        label = label_of(content, question, content.languages[0]) or question.key
        again = sum(label == other.partition(" (")[0] for other in labels.values())
        labels[question.key] = f"{label} ({again + 1})" if again else label
    return labels


def answer_data(
    content: Content, answers: Iterable[Answer], wrong: Collection[str] = frozenset()
) -> dict[str, str]:
    """Return answers by the label of their field, each in its normal form; choices in words.

    Contact details among the ``wrong`` values are left out.
    """
    labels = field_labels(content)
    return {
        labels.get(answer.key, answer.label): answer.shown if answer.kind in CHOOSERS else answer.value
        for answer in without_wrong(answers, wrong)
    }


def without_wrong(answers: Iterable[Answer], wrong: Collection[str]) -> tuple[Answer, ...]:
    """Return answers without the contact details that a member marked wrong."""
    return tuple(each for each in answers if each.kind not in CONTACTS or each.value not in wrong)


def sample_answers(content: Content, number: int) -> tuple[Answer, ...]:
    """What a test lead answers: the same for the same form, and nobody's contact details.

    Source: RFC 2606 (example.com), NANP (numbers 555-0100 to 555-0199 are for fiction).
    """
    return tuple(_sample(content, question, number) for question in content.questions)


def sample_details(content: Content, number: int) -> dict[Kind, str]:
    """What a preview fills in where the chat would: examples of the details that a form takes from there."""
    return {each.kind: _sample_text(each, number) for each in content.questions if each.prefill}


def sample_email(number: int) -> str:
    return f"test-{number}@example.com"


def sample_phone(number: int) -> str:
    return f"+120255501{number % 100:02}"


def _sample(content: Content, question: FormQuestion, number: int) -> Answer:
    label = label_of(content, question, content.languages[0])
    if question.kind in CHOOSERS and question.options:
        option = question.options[0]
        shown = option_text(content, question, option, content.languages[0])
        return Answer(question.key, label, question.kind, shown, option.key)
    text = _sample_text(question, number)
    return Answer(question.key, label, question.kind, text, text)


def _sample_text(question: FormQuestion, number: int) -> str:
    if question.kind is Kind.EMAIL:
        return sample_email(number)
    if question.kind in PHONES:
        return sample_phone(number)
    if question.kind is Kind.NUMBER:
        return str(question.low or 1)
    if question.kind in _SAMPLES:
        return _SAMPLES[question.kind]
    return f"test_{number % 10_000}" if question.kind in CONTACTS else "Test answer"
