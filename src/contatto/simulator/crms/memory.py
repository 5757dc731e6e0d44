"""What all CRMs have in common: fields, records that are made, changed, merged, converted and deleted."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from contatto.crm.model import CrmField, FieldKind

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class StoredRecord:
    """One record; ``number`` counts the records, ``became`` is what it was merged into or converted to."""

    id: str
    number: int
    values: dict[str, str]
    made_at: datetime
    changed_at: datetime
    is_deleted: bool = False
    became: str = ""
    is_converted: bool = False


class WrongValue(Exception):
    """A write that is not taken: ``kind`` is ``field``, ``choice`` or ``exists``, with what it is about."""

    def __init__(self, kind: str, subject: str) -> None:
        super().__init__(kind, subject)
        self.kind, self.subject = kind, subject


@dataclass
class MemoryCrm:
    """The records of one CRM.

    Attributes:
        our_id: the field that holds our id.
        unique: fields of which no two records have the same value.
        lag: how many writes a search by e-mail or phone is behind.
        skew: how far its clock is from ours.
        merges_anew: a merge makes a third record with an id of its own, to which both others lead.
    """

    fields: dict[str, CrmField]
    our_id: str
    unique: set[str] = field(default_factory=set)
    lag: int = 0
    skew: timedelta = timedelta()
    records: dict[str, StoredRecord] = field(default_factory=dict)
    ticks: int = 0
    merges_anew: bool = False

    def make(self, values: dict[str, Any], record_id: str = "") -> StoredRecord:
        """A new record.

        Raises:
            WrongValue: a field or a value is not there, or a value is taken.
        """
        clean = self._checked(values, "")
        number = len(self.records) + 1
        now = self.now()
        stored_record = StoredRecord(record_id or str(1000 + number), number, clean, now, now)
        self.records[stored_record.id] = stored_record
        return stored_record

    def change(self, record: StoredRecord, values: dict[str, Any]) -> None:
        """Change the fields that are named.

        Raises:
            WrongValue: as ``make``.
        """
        record.values |= self._checked(values, record.id)
        record.changed_at = self.now()

    def live(self) -> Iterator[StoredRecord]:
        """Records that are there, the oldest first."""
        return (record for record in self.records.values() if not record.is_deleted)

    def find(self, name: str, value: str, *, at_once: bool = False) -> list[StoredRecord]:
        """Records with this value, those left out that a lagging search does not know yet."""
        newest = len(self.records) - (0 if at_once else self.lag)
        known = [record for record in self.live() if record.number <= newest]
        return [record for record in known if record.values.get(name, "").casefold() == value.casefold()]

    def changed_after(self, at: datetime | None, seen: set[str]) -> list[StoredRecord]:
        """Records of ours that changed at or after a time, the oldest change first, without those seen."""
        ours = [record for record in self.records.values() if record.values.get(self.our_id)]
        since = [record for record in ours if at is None or record.changed_at >= at]
        kept = [record for record in since if record.id not in seen]
        return sorted(kept, key=lambda record: (record.changed_at, record.number))

    def merge(self, record_id: str, into_id: str) -> StoredRecord:
        """Make one of two, as a person does it in the CRM: what the second has stands; give what is left."""
        gone, left = self.records[record_id], self.records[into_id]
        values = {**gone.values, **{name: value for name, value in left.values.items() if value}}
        now = self.now()
        merged = [gone]
        if self.merges_anew:
            number = len(self.records) + 1
            merged, left = [gone, left], StoredRecord(str(1000 + number), number, {}, now, now)
            self.records[left.id] = left
        for each in merged:
            each.is_deleted, each.became, each.changed_at = True, left.id, now
        left.values, left.changed_at = values, now
        return left

    def delete(self, record_id: str) -> None:
        self.records[record_id].is_deleted = True
        self.records[record_id].changed_at = self.now()

    def drop_field(self, name: str) -> None:
        """Somebody removed a field."""
        del self.fields[name]
        for record in self.records.values():
            record.values.pop(name, None)

    def drop_choice(self, name: str, value: str) -> None:
        """Somebody removed a value from a list."""
        known = self.fields[name]
        choices = tuple(choice for choice in known.choices if choice[0] != value)
        self.fields[name] = CrmField(
            known.name, known.label, known.kind, known.is_required, choices, known.limit
        )

    def backup(self) -> dict[str, StoredRecord]:
        return deepcopy(self.records)

    def now(self) -> datetime:
        """Its own clock, which goes on by a second with each change."""
        self.ticks += 1
        return START + self.skew + timedelta(seconds=self.ticks)

    def _checked(self, values: dict[str, Any], record_id: str) -> dict[str, str]:
        clean = {name: "" if value is None else str(value) for name, value in values.items()}
        for name, value in clean.items():
            known = self.fields.get(name)
            if known is None:
                raise WrongValue("field", name)
            is_choice = known.kind is FieldKind.CHOICE and value
            if (is_choice and value not in dict(known.choices)) or (known.limit and len(value) > known.limit):
                raise WrongValue("choice", name)
        for name in self.unique & {name for name, value in clean.items() if value}:
            taken = [each.id for each in self.find(name, clean[name], at_once=True) if each.id != record_id]
            if taken:
                raise WrongValue("exists", taken[0])
        return clean
