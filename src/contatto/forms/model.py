"""Forms, their versions, submissions, and consent receipts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.capture.model import Field
from contatto.kit.languages import Translator

type Words = Mapping[str, Mapping[str, str]]
"""Texts by language and by key, such as ``words["en"]["q1.label"]``."""
type Answers = Mapping[str, str | list[str]]
"""Answers of a person by the question's key; a list for several choices."""


class QuestionKind(StrEnum):
    """Kind of a question; kinds of contact details have the values of the capture fields."""

    NAME = "name"
    EMAIL = "email"
    PHONE = "phone"
    WHATSAPP = "whatsapp"
    INSTAGRAM = "instagram"
    FACEBOOK = "facebook"
    LINE = "line"
    MESSENGER = "messenger"
    TWITTER = "twitter"
    LINKEDIN = "linkedin"
    WEIBO = "weibo"
    WECHAT = "wechat"
    SNAPCHAT = "snapchat"
    CITY = "city"
    POSTCODE = "postcode"
    COUNTRY = "country"
    DATE = "date"
    APPOINTMENT = "appointment"
    NUMBER = "number"
    TEXT = "text"
    LONG_TEXT = "long_text"
    CHOICE = "choice"
    CHOICES = "choices"
    HIDDEN = "hidden"


CONTACTS: Final[Mapping[QuestionKind, Field]] = {
    QuestionKind(contact.value): contact for contact in Field if contact.value in list(QuestionKind)
}
"""Contact details by the kind of the question that asks for them."""


class HiddenValue(StrEnum):
    """Value of a hidden question; the server fills it in, never the browser."""

    CAMPAIGN = "campaign"
    AD_GROUP = "ad_group"
    AD = "ad"
    CLICK = "click"


END: Final = "end"
"""A jump to the end of the questions."""
REFUSE: Final = "refuse"
"""A jump to the page for people whom the offer does not fit."""


@dataclass(frozen=True, slots=True)
class Option:
    """Option of a question: its points, and a jump to a question's key, END or REFUSE; "" for none."""

    key: str
    score: int = 0
    goto: str = ""


@dataclass(frozen=True, slots=True)
class Hours:
    """Opening hours of a business in its IANA time zone, with its ISO weekdays.

    An appointment lasts ``slot_minutes``; people can book up to ``ahead_days`` ahead.
    """

    zone: str = ""
    days: tuple[int, ...] = (1, 2, 3, 4, 5)
    opens: str = "09:00"
    closes: str = "17:00"
    slot_minutes: int = 30
    ahead_days: int = 14


@dataclass(frozen=True, slots=True)
class FormQuestion:
    """One question; its texts are in the words of the content.

    ``low`` and ``high`` bound the length of a text or the value of a number. ``country`` is the default of a
    phone number. With ``show_if``, a question shows only if that question has the answer ``show_value``.
    ``hours`` are those of an appointment. ``prefill`` shows a detail of the chat, for the person to confirm.
    """

    key: str
    kind: QuestionKind
    required: bool = False
    autocomplete: str = ""
    low: int | None = None
    high: int | None = None
    country: str = ""
    options: tuple[Option, ...] = ()
    show_if: str = ""
    show_value: str = ""
    source: HiddenValue | None = None
    hours: Hours | None = None
    prefill: bool = False


@dataclass(frozen=True, slots=True)
class FormConsent:
    """Consent to one purpose; no box is ticked beforehand, a required one must be."""

    key: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """Content of a form. Other languages fall back to the first one.

    ``image`` is the hash of the picture over the headline, "" for none.
    ``made`` counts all questions ever added, so that no key is used twice.
    """

    languages: tuple[str, ...] = ("en",)
    questions: tuple[FormQuestion, ...] = ()
    consents: tuple[FormConsent, ...] = ()
    review: bool = False
    image: str = ""
    policy_url: str = ""
    end_url: str = ""
    end_phone: str = ""
    made: int = 0
    words: Words = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Form:
    """A form with its draft; ``number`` is the ``page_id`` that its next version will have.

    ``revision`` counts the saves of the draft, ``version`` the last published version (0 for none).
    """

    id: str
    business_id: str
    number: int
    name: str
    revision: int
    version: int
    draft: Content
    edited_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class FormVersion:
    """A published form, frozen; ``number`` is the API's ``page_id``."""

    id: str
    business_id: str
    form_id: str
    number: int
    version: int
    name: str
    content: Content
    published_by: str
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem of a draft or an answer; ``at`` names the field.

    ``num`` fills in the ``%(num)s`` of its text, if it has one.
    """

    at: str
    says: str
    num: int | None = None

    def in_language(self, words: Translator) -> str:
        return words.gettext(self.says) if self.num is None else words.gettext(self.says, num=self.num)


@dataclass(frozen=True, slots=True)
class Respondent:
    """Person in a chat who answers a form, with the ad of the chat if any."""

    business_id: str
    person_id: str
    channel_account_id: str
    conversation_id: str
    profile_name: str
    ad_id: str | None = None
    hidden: Mapping[HiddenValue, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Submission:
    """Answers that a browser sends; a repeated ``submission_id`` is the same submission.

    ``website`` is a trap: a field that no person sees, so only programs fill it in.
    """

    submission_id: str
    language: str
    answers: Answers
    consents: tuple[str, ...] = ()
    website: str = ""


@dataclass(frozen=True, slots=True)
class Booking:
    """Appointment that a person booked with a form; no other person can book its time."""

    form_id: str
    person_id: str
    answer_id: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Prefill:
    """Known details of the person who opens a form, and booked appointments.

    ``is_back`` marks a person who submitted this form before.
    """

    is_back: bool = False
    details: Mapping[QuestionKind, str] = field(default_factory=dict)
    bookings: tuple[Booking, ...] = ()


NOBODY: Final = Prefill()
"""Prefill for a person without known details."""


class FormVerdict(StrEnum):
    """Verdict on an answer; only accepted (``TAKEN``) answers are saved with their contents."""

    TAKEN = "taken"
    NO_FIT = "no_fit"
    SPAM = "spam"


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """Answer to one question: ``shown`` for people, ``value`` normalised for programs."""

    key: str
    label: str
    kind: QuestionKind
    shown: str
    value: str


@dataclass(frozen=True, slots=True)
class FormAnswer:
    """A stored submission of a form, with its answers decrypted."""

    id: str
    business_id: str
    form_id: str
    version_id: str
    language: str
    person_id: str
    channel_account_id: str
    conversation_id: str
    lead_id: str
    ad_id: str | None
    verdict: FormVerdict
    score: int
    answers: tuple[QuestionAnswer, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class ConsentReceipt:
    """Proof of what a person was shown and agreed to: the text and its hash, when, and in which language."""

    id: str
    business_id: str
    answer_id: str
    person_id: str
    purpose: str
    given: bool
    text: str
    text_hash: str
    policy_url: str
    language: str
    at: datetime


@dataclass(frozen=True, slots=True)
class TestLeadMade:
    """Test lead that a program created; page number 0 is the chat."""

    business_id: str
    lead_id: str
    page_number: int


@dataclass(frozen=True, slots=True)
class FormSubmitted:
    """Submission of a form; without a lead, ``lead_id`` is empty."""

    business_id: str
    form_id: str
    answer_id: str
    conversation_id: str
    lead_id: str
