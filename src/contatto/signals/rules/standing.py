"""How the signals of an ad account stand, and which of it a person should look at."""

from dataclasses import dataclass
from datetime import datetime

from contatto.crm.rules.deliveries import ALARM_AFTER
from contatto.crm.rules.reasons import Alarm
from contatto.signals.model.settings import SignalMode, SignalSettings


@dataclass(frozen=True, slots=True)
class SignalStanding:
    """Counts of signals by what became of them; ``signals`` is counted by itself, and is their sum.

    ``due_since`` is when the oldest that is due was made due.
    """

    signals: int = 0
    due: int = 0
    sent: int = 0
    withheld: int = 0
    dead: int = 0
    due_since: datetime | None = None

    @property
    def adds_up(self) -> bool:
        return self.signals == self.due + self.sent + self.withheld + self.dead


def find_signal_alarms(
    settings: SignalSettings, standing: SignalStanding, now: datetime
) -> tuple[Alarm, ...]:
    """What is wrong with an account, the worst first."""
    waits_long = standing.due_since is not None and standing.due_since <= now - ALARM_AFTER
    is_quiet = settings.arrived_at is None or settings.arrived_at < now - ALARM_AFTER
    found = {
        Alarm.SHUT_OUT: settings.mode is SignalMode.SHUT_OUT,
        Alarm.NONE_ARRIVES: settings.is_active and waits_long and is_quiet,
        Alarm.DEAD: standing.dead > 0,
        Alarm.MISCOUNTED: not standing.adds_up,
    }
    return tuple(alarm for alarm, is_so in found.items() if is_so)
