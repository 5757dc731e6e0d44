"""What is missing or damaged among the sealed files, as far as a report's days are concerned."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from contatto.accounts.model import AdAccount
from contatto.kit.db.tx import Tx
from contatto.measurement.engines.sealing import BrokenFile, list_broken, list_sealed_files_between
from contatto.measurement.store import list_dropped_days


@dataclass(frozen=True, slots=True)
class Gap:
    """A sealed file that is gone or damaged; ``is_kept`` where the database still has all of its day."""

    name: str
    day: date
    is_gone: bool
    is_kept: bool = False


def gap_of(error: BrokenFile, *, is_kept: bool = False) -> Gap:
    return Gap(error.file.name, date.fromisoformat(error.file.day), error.is_gone, is_kept)


def list_gaps(tx: Tx, account: AdAccount, days: tuple[date, date]) -> list[Gap]:
    """The damaged files of some days. A folder that this machine does not have is no damage of its own."""
    files = list_sealed_files_between(tx, days[0].isoformat(), days[1].isoformat())
    broken = list_broken(files)
    if not broken:
        return []
    dropped = set(list_dropped_days(tx, account.business_id, account.id))
    found = [(error, error.file.day not in dropped or error.file.dropped_through < 0) for error in broken]
    return [
        gap_of(error, is_kept=is_kept)
        for error, is_kept in found
        if not is_kept or Path(error.file.folder).is_dir()
    ]
