"""When a signal is tried again, and how long that makes sense."""

from datetime import datetime, timedelta
from typing import Final

from contatto.kit.outbound.model import ANSWER_LOST, BROKEN, DISMISSED, EXPIRED, RetryPlan
from contatto.signals.model.events import AdSignal
from contatto.signals.rules.reasons import MAYBE_COUNTED, TOO_OLD

SIGNAL_PLAN: Final = RetryPlan((30, 120, 600, 1_800, 7_200, *(21_600,) * 26), timedelta(days=7))
"""Soon, then every six hours for a week: longer no platform takes an event."""
TEST_PLAN: Final = RetryPlan((5, 20))
OLDEST: Final = timedelta(days=7)
"""Source: Meta, Conversions API: ``event_time`` is at most seven days before the event is sent."""
COUNTED_ONCE: Final = timedelta(hours=47)
"""How long after a try whose answer was lost the same event id is safe to send again.

Source: TikTok and Meta leave out an event with the same id and name for 48 hours; an hour is for clocks.
"""
_UNSURE: Final = frozenset(
    {ANSWER_LOST, BROKEN, EXPIRED, DISMISSED, MAYBE_COUNTED, TOO_OLD, "not_json", "platform_away"}
)
"""After these it may be there; some say nothing of the last try, so that an earlier one still counts."""


def cannot_be_sent(signal: AdSignal, now: datetime) -> str:
    """Why a platform would not count a signal any more, or might count it twice; "" where neither is so."""
    if signal.unsure_at is not None and now - signal.unsure_at > COUNTED_ONCE:
        return MAYBE_COUNTED
    return TOO_OLD if now - signal.occurred_at > OLDEST else ""


def is_sure(reason: str) -> bool:
    """Return whether after this failure the platform surely has nothing of what was sent."""
    return reason not in _UNSURE and not reason.startswith(("http_5", "http_408"))
