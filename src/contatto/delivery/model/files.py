"""Files of the log that delivery learns from: decisions, and what became of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecisionFile:
    """A Parquet file of entries that one business's log got on one day (UTC), as it was when it was written.

    ``name`` is its path below ``folder``; it depends on the business, the day and the first entry alone.
    """

    business_id: str
    name: str
    folder: str
    day: str
    first_seq: int
    last_seq: int
    entries: int
    size: int
    sha256: str
