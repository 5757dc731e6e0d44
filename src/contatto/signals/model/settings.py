"""What is told to one ad account elsewhere, and whether: its settings."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Step(StrEnum):
    """What became of a lead; each is told once at the most."""

    CAPTURED = "captured"
    QUALIFIED = "qualified"
    CONVERTED = "converted"
    DISQUALIFIED = "disqualified"
    SPAM = "spam"


class SignalMode(StrEnum):
    """Whether signals go to an account. In all modes but the first they are kept, and none is lost."""

    OFF = "off"
    ACTIVE = "active"
    PAUSED = "paused"
    """A member holds them back."""
    SHUT_OUT = "shut_out"
    """The platform lets us in no more, or its data set is gone."""


class ConsentRule(StrEnum):
    """Whose signals may leave, by the answers to questions for consent."""

    GIVEN = "given"
    """Only people who were asked, and agreed to all of it."""
    NOT_REFUSED = "not_refused"
    """People who were not asked too; the business has another ground for it."""


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """What is told to an ad account, and as what.

    Attributes:
        outside_account_id: the ad account.
        dataset_id: where events go: TikTok's CRM event set, Meta's data set.
        whatsapp_id: Meta's id of the WhatsApp Business account, which events of its chats name.
        names: event names of the business's own, where the platform allows any.
        currency: that of the amounts; ``value_micros`` is what a converted lead is worth where no CRM says.
        started_at: what happened before is not told.
        changed_at: when the mode or the data set was changed last.
        arrived_at: when the platform took one last.
    """

    outside_account_id: str
    business_id: str
    mode: SignalMode
    reason: str
    dataset_id: str
    whatsapp_id: str
    steps: tuple[Step, ...]
    consent: ConsentRule
    currency: str
    value_micros: int | None
    started_at: datetime
    changed_at: datetime
    arrived_at: datetime | None
    names: dict[Step, str] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        return self.mode is SignalMode.ACTIVE
