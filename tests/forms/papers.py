"""Forms to test with: the shortest that can be published, and one that has every kind of thing."""

from dataclasses import replace

from contatto.forms import actions as forms
from contatto.forms.actions import FilledForm, Unanswered, check_forms, save_answers
from contatto.forms.model import (
    END,
    REFUSE,
    Content,
    FormAnswer,
    FormConsent,
    FormQuestion,
    FormVersion,
    HiddenValue,
    Option,
    QuestionKind,
    Respondent,
    Submission,
)
from contatto.kit.db.tx import Tx

POLICY = "https://kopi.example.com/privacy"


def question(key: str, kind: QuestionKind, **changes: object) -> FormQuestion:
    return replace(FormQuestion(key, kind), **changes)  # type: ignore[arg-type]


def content(*questions: FormQuestion, **changes: object) -> Content:
    """A form that can be published: the questions given, else one for an e-mail."""
    asked = questions or (question("q1", QuestionKind.EMAIL, required=True),)
    words = {"headline": "Ask us", "thanks_title": "Thank you!", "thanks_text": "We write soon."}
    words |= {f"{each.key}.label": f"Label of {each.key}" for each in asked}
    words |= {
        f"{each.key}.option.{option.key}": f"Option {option.key}" for each in asked for option in each.options
    }
    made = Content(questions=asked, policy_url=POLICY, made=len(asked), words={"en": words})
    return replace(made, **changes)  # type: ignore[arg-type]


def kitchen() -> Content:
    """Choice with jumps, a dependent question, consents, hidden fields, two languages."""
    made = content(
        question("q1", QuestionKind.CHOICE, required=True, options=(
            Option("a", 5), Option("b", 2, "q4"), Option("c", 0, REFUSE), Option("d", 1, END))),
        question("q2", QuestionKind.CHOICES, options=(Option("a", 1), Option("b", 1)), show_if="q1",
        show_value="a"),
        question("q3", QuestionKind.NUMBER, low=1, high=30),
        question("q4", QuestionKind.NAME, high=120),
        question("q5", QuestionKind.EMAIL, required=True),
        question("q6", QuestionKind.PHONE, country="SG"),
        question("q7", QuestionKind.INSTAGRAM),
        question("q8", QuestionKind.LONG_TEXT, high=500),
        question("q9", QuestionKind.HIDDEN, source=HiddenValue.AD),
        consents=(FormConsent("c1", required=True), FormConsent("c2")),
        languages=("en", "ar"),
    )  # fmt: skip
    english = {**made.words["en"], "c1.text": "Contact me about this.", "c2.text": "Send me news."}
    arabic = {"headline": "اسألنا", "q5.label": "البريد", "c1.text": "تواصلوا معي."}
    return replace(made, words={"en": english, "ar": arabic})


def published(tx: Tx, business_id: str, of: Content | None = None, name: str = "Quote") -> FormVersion:
    form = forms.create_form(tx, business_id, name)
    saved = forms.save_draft(tx, form, of or content(), form.revision, "test")
    return forms.publish_form(tx, business_id, form.id, saved.revision, "Owner")


def respondent(business_id: str, **changes: object) -> Respondent:
    made = Respondent(business_id, "p1", "account-1", "conversation-1", "mei")
    return replace(made, **changes)  # type: ignore[arg-type]


def sent(submission_id: str = "submission-1", language: str = "en", **answers: str | list[str]) -> Submission:
    return Submission(submission_id, language, answers or {"q1": "mei@example.com"})


def submit_form(tx: Tx, version: FormVersion, respondent: Respondent, sent: Submission) -> FormAnswer:
    """Take one form, as a batch of one does.

    Raises:
        Unanswered: with a problem for each field that lacks something.
    """
    (looked,) = check_forms(tx, version.business_id, [FilledForm(version, respondent, sent)])
    if isinstance(looked, Unanswered):
        raise looked
    return looked if isinstance(looked, FormAnswer) else save_answers(tx, [looked])[0][0]
