"""Forms, questions and answers as the templates want them."""

from typing import Any

from contatto.forms.model import (
    CONTACTS,
    END,
    REFUSE,
    ConsentReceipt,
    Content,
    Form,
    FormAnswer,
    FormQuestion,
    FormVerdict,
    FormVersion,
    HiddenValue,
    QuestionKind,
)
from contatto.forms.rules.answers import (
    AUTOCOMPLETE,
    CHOOSERS,
    DAYS_AHEAD,
    PHONES,
    SLOT_LENGTHS,
    TEXTS,
    USUAL,
    day_names,
    label_of,
    list_zones,
    option_text,
    text_of,
)
from contatto.forms.rules.drafts import list_problems
from contatto.kit.i18n import N_, Translator
from contatto.kit.languages import LANGUAGES
from contatto.leads.model import Lead
from contatto.measurement.model import MeasuredAd

KIND_NAMES = {
    QuestionKind.NAME: N_("Name"),
    QuestionKind.TEXT: N_("Short text"),
    QuestionKind.LONG_TEXT: N_("Long text"),
    QuestionKind.NUMBER: N_("Number"),
    QuestionKind.APPOINTMENT: N_("Appointment"),
    QuestionKind.CHOICE: N_("One choice"),
    QuestionKind.CHOICES: N_("Several choices"),
    QuestionKind.HIDDEN: N_("Hidden"),
}
GROUPS = (
    (N_("Contact details"), (QuestionKind.NAME, QuestionKind.EMAIL, QuestionKind.PHONE,
    QuestionKind.WHATSAPP)),
    (
        N_("Messaging names"),
        (
            QuestionKind.INSTAGRAM, QuestionKind.FACEBOOK, QuestionKind.LINE, QuestionKind.MESSENGER,
            QuestionKind.TWITTER, QuestionKind.LINKEDIN, QuestionKind.WEIBO,
            QuestionKind.WECHAT, QuestionKind.SNAPCHAT,
        ),
    ),
    (N_("Place and time"), (QuestionKind.CITY, QuestionKind.POSTCODE, QuestionKind.COUNTRY,
    QuestionKind.DATE, QuestionKind.APPOINTMENT)),
    (N_("Questions"), (QuestionKind.CHOICE, QuestionKind.CHOICES, QuestionKind.TEXT,
    QuestionKind.LONG_TEXT, QuestionKind.NUMBER)),
    (N_("Not shown"), (QuestionKind.HIDDEN,)),
)  # fmt: skip
"""The kinds of questions in the groups of the builder's list."""
SOURCE_NAMES = {
    HiddenValue.CAMPAIGN: N_("Campaign"),
    HiddenValue.AD_GROUP: N_("Ad group"),
    HiddenValue.AD: N_("Ad"),
    HiddenValue.CLICK: N_("Click id"),
}


def kind_name(kind: QuestionKind) -> str:
    return KIND_NAMES.get(kind, USUAL[kind].label)


def kind_groups(words: Translator) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (words.gettext(name), [(kind.value, words.gettext(kind_name(kind))) for kind in kinds])
        for name, kinds in GROUPS
    ]


def show_form_row(form: Form, counts: dict[FormVerdict, int], latest: FormVersion | None) -> dict[str, Any]:
    return {
        "id": form.id,
        "name": form.name,
        "version": form.version,
        "is_changed": latest is not None and latest.content != form.draft,
        "answers": counts.get(FormVerdict.TAKEN, 0),
        "no_fit": counts.get(FormVerdict.NO_FIT, 0),
        "updated_at": form.updated_at,
    }


def show_draft(form: Form, language: str, words: Translator) -> dict[str, Any]:
    """Return the draft in the builder, with its texts in one language and the first one's beside them.

    ``words`` are those of the member who edits it.
    """
    content = form.draft
    first = content.languages[0]
    problems = list_problems(content)
    by_place: dict[str, str] = {}
    for problem in problems:
        by_place.setdefault(problem.at, problem.in_language(words))
    return {
        "id": form.id,
        "name": form.name,
        "revision": form.revision,
        "version": form.version,
        "language": language,
        "is_first": language == first,
        "languages": [(code, LANGUAGES.get(code, code)) for code in content.languages],
        "other_languages": [
            (code, name) for code, name in LANGUAGES.items() if code not in content.languages
        ],
        "texts": content.words.get(language, {}),
        "first_texts": content.words.get(first, {}),
        "questions": [
            _question(content, question, place, words) for place, question in enumerate(content.questions)
        ],
        "consents": content.consents,
        "review": content.review,
        "image": content.image,
        "policy_url": content.policy_url,
        "end_url": content.end_url,
        "end_phone": content.end_phone,
        "problems": [{"at": problem.at, "says": problem.in_language(words)} for problem in problems],
        "wrong": by_place,
    }


def _question(content: Content, question: FormQuestion, place: int, words: Translator) -> dict[str, Any]:
    first = content.languages[0]
    # a question may depend on each option of an earlier question
    shows = [
        (
            f"{earlier.key}={option.key}",
            words.gettext(
                "%(question)s is “%(answer)s”",
                question=_short(content, earlier, words),
                answer=option_text(content, earlier, option, content.languages[0]) or option.key,
            ),
        )
        for earlier in content.questions[:place]
        if earlier.kind in CHOOSERS
        for option in earlier.options
    ]
    later = [
        (
            later_question.key,
            words.gettext("Jump to “%(question)s”", question=_short(content, later_question, words)),
        )
        for later_question in content.questions[place + 1 :]
    ]
    skip, refuse = words.gettext("Skip to the end"), words.gettext("End: the offer does not fit")
    jumps = [("", words.gettext("Continue")), *later, (END, skip), (REFUSE, refuse)]
    return {
        "key": question.key,
        "kind": question.kind.value,
        "kind_name": words.gettext(kind_name(question.kind)),
        "title": label_of(content, question, first) or words.gettext(kind_name(question.kind)),
        "required": question.required,
        "autocomplete": question.autocomplete,
        "autocomplete_words": AUTOCOMPLETE,
        "low": question.low,
        "high": question.high,
        "country": question.country,
        "bounds": "number"
        if question.kind is QuestionKind.NUMBER
        else ("length" if question.kind in TEXTS else ""),
        "is_contact": question.kind in CONTACTS,
        "prefill": question.prefill,
        "is_phone": question.kind in PHONES,
        "is_chooser": question.kind in CHOOSERS,
        "has_jumps": question.kind is QuestionKind.CHOICE,
        "is_hidden": question.kind is QuestionKind.HIDDEN,
        "options": question.options,
        "show": f"{question.show_if}={question.show_value}" if question.show_if else "",
        "shows": shows,
        "jumps": jumps,
        "hours": question.hours
        and {
            "zone": question.hours.zone,
            "zones": list_zones(),
            "days": [(day, day_name, day in question.hours.days) for day, day_name in day_names(words.lang)],
            "opens": question.hours.opens,
            "closes": question.hours.closes,
            "slot": question.hours.slot_minutes,
            "slots": SLOT_LENGTHS,
            "ahead": question.hours.ahead_days,
            "aheads": DAYS_AHEAD,
        },
        "source": question.source.value if question.source else "",
        "sources": [(source.value, words.gettext(name)) for source, name in SOURCE_NAMES.items()],
    }


def _short(content: Content, question: FormQuestion, words: Translator) -> str:
    label = label_of(content, question, content.languages[0]) or words.gettext(kind_name(question.kind))
    return label if len(label) <= 40 else f"{label[:39]}…"


def show_version(version: FormVersion) -> dict[str, Any]:
    headline = text_of(version.content, "headline", version.content.languages[0])
    return {
        "number": str(version.number),
        "version": version.version,
        "headline": headline,
        "by": version.published_by,
        "at": version.published_at,
    }


def show_answer(
    answer: FormAnswer,
    version: FormVersion | None,
    receipts: list[ConsentReceipt],
    lead: Lead | None,
    ad: MeasuredAd | None,
) -> dict[str, Any]:
    return {
        "id": answer.id,
        "form_id": answer.form_id,
        "form_name": version.name if version else "",
        "version": version.version if version else 0,
        "number": str(version.number) if version else "",
        "language": LANGUAGES.get(answer.language, answer.language),
        "lang": answer.language,
        "lead_id": answer.lead_id if lead else "",
        "lead_name": lead.name if lead else "",
        "ad_name": ad.ad_name if ad else "",
        "score": answer.score,
        "at": answer.at,
        "answers": [
            {"label": field.label, "shown": field.shown, "kind": field.kind.value} for field in answer.answers
        ],
        "consents": [
            {
                "text": receipt.text,
                "given": receipt.given,
                "hash": receipt.text_hash,
                "policy_url": receipt.policy_url,
                "at": receipt.at,
            }
            for receipt in receipts
        ],
    }
