"""What came of comparing the records that a CRM has of us with those that we know."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a CRM with our ledger, as it ended.

    Attributes:
        started_at: what was verified later is not in it.
        held: records there that carry an id of ours.
        sent_again: leads that had been verified and were not there: they go there again.
        left_gone: leads that were not there, and had been sent again for that before: somebody there wants
            them gone.
        doubled: records that carry the id of another record.
        unknown: records with an id of ours that we do not know.
        erased_again: records of people who are to be erased, and are there again: they are erased once more.
    """

    started_at: datetime
    ended_at: datetime
    held: int = 0
    sent_again: int = 0
    left_gone: int = 0
    doubled: int = 0
    unknown: int = 0
    erased_again: int = 0

    @property
    def differs(self) -> bool:
        """Return whether a person should look: what somebody there wants gone is no difference."""
        return bool(self.sent_again or self.doubled or self.unknown or self.erased_again)
