"""Which steps of a lead are due for an account, under which name, and whether they may leave."""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final, Protocol

from contatto.leads.model import HistoryEntry, HistoryKind, LeadStatus
from contatto.leads.rules.records import ARROW
from contatto.signals.model.settings import ConsentRule, SignalSettings, Step

STEP_OF: Final[Mapping[LeadStatus, Step]] = {
    LeadStatus.QUALIFIED: Step.QUALIFIED,
    LeadStatus.CONVERTED: Step.CONVERTED,
    LeadStatus.UNQUALIFIED: Step.DISQUALIFIED,
}


class Consent(Protocol):
    """An answer to a question for consent, with the text that was asked."""

    @property
    def at(self) -> datetime: ...

    @property
    def given(self) -> bool: ...

    @property
    def text(self) -> str: ...


NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_ .-]{0,49}", re.ASCII)
"""What an event may be called. Source: TikTok, Events API: up to 50 characters."""


def reached_at(status: LeadStatus, history: Iterable[HistoryEntry], created_at: datetime) -> datetime:
    """Since when a lead has its status."""
    changes = (HistoryKind.STATUS, HistoryKind.STATUS_UNDONE)
    times = [
        entry.at
        for entry in history
        if entry.what in changes and entry.detail.endswith(f"{ARROW}{status.value}")
    ]
    return max(times, default=created_at)


def steps_due(
    settings: SignalSettings, named: Collection[Step], reached: Mapping[Step, datetime]
) -> dict[Step, datetime]:
    """The steps that an account is told of, with their times, in the order of time.

    Args:
        settings: which it wants, and since when.
        named: those that its platform has a name for.
        reached: what became of the lead, and when; platforms tell times by the second.
    """
    begun = settings.started_at.replace(microsecond=0)
    due = {
        step: at for step, at in reached.items() if step in settings.steps and step in named and at >= begun
    }
    return dict(sorted(due.items(), key=lambda pair: (pair[1], list(Step).index(pair[0]))))


def may_leave(rule: ConsentRule, consents: Iterable[Consent]) -> bool:
    """Return whether signals of a person may leave; what they said last to each question counts."""
    said: dict[str, bool] = {}
    for consent in sorted(consents, key=lambda each: each.at):
        said[consent.text] = consent.given
    if not all(said.values()):
        return False
    return bool(said) or rule is ConsentRule.NOT_REFUSED


def name_of(settings: SignalSettings, names: Mapping[Step, str], step: Step) -> str:
    """What a step is called: by the business, else by the platform."""
    return settings.names.get(step) or names.get(step, "")
