"""The leads that a batch of signals concerns: read once, changed in memory, written once for each table."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from contatto.measurement import actions as measurement
from contatto.capture.model import Field
from contatto.kit.db.tx import Tx
from contatto.leads.model import ContactPoint, Evidence, HistoryEntry, Lead, Origin
from contatto.leads.rules.records import detail_key
from contatto.leads.store import records
from contatto.leads.store.annotations import FormEntry, append_entries


type Points = dict[tuple[Field, str], ContactPoint]
"""The contact points of a lead by what the spellings of one detail have in common."""


@dataclass(frozen=True, slots=True)
class FreshLead:
    """A lead that a batch makes: as its first signal leaves it, as its last one does, and its facets."""

    lead: Lead
    later: Lead
    facets: str


class LeadBatch:
    """Leads of one business with what they get; each of its lists is in the order in which things happened.

    Attributes:
        earned: leads that were captured, or earlier than was known, for who earned them.
        events: what is told of them.
        changed: ids of leads that outside systems are told of, once for each change.
        twins: ids of leads that got contact values.
        touched: ids of leads that got something else that they are filtered by.
        fresh: ids of leads that were inserted here with the facets that they have after it.
    """

    def __init__(self, tx: Tx, business_id: str, person_ids: Iterable[str]) -> None:
        self.business_id = business_id
        self.earned: list[measurement.Earned] = []
        self.events: list[Any] = []
        self.changed: list[Lead] = []
        self.twins: set[str] = set()
        self.touched: set[str] = set()
        self.fresh: set[str] = set()
        self._tx = tx
        self._of_person: dict[str, str] = {}
        self._rows: dict[str, Lead] = {}
        self._leads: dict[str, Lead] = {}
        self._points: dict[str, Points] = {}
        self._uncaptured: set[str] = set()
        self._new_points: dict[str, ContactPoint] = {}
        self._moved_points: dict[str, ContactPoint] = {}
        self._evidence: list[Evidence] = []
        self._steps: list[HistoryEntry] = []
        self._entries: list[FormEntry] = []
        self._active: set[str] = set()
        self._started: set[str] = set()
        self._read(set(person_ids))

    def _read(self, person_ids: set[str]) -> None:
        """Read the leads of persons, or those that they were merged into."""
        tx, business_id = self._tx, self.business_id
        for lead in records.list_leads_of_persons(tx, business_id, person_ids):
            target = records.find_lead(tx, business_id, lead.merged_into) if lead.merged_into else None
            current = target or lead
            self._leads.setdefault(current.id, current)
            self._of_person[lead.person_id] = current.id

    def find(self, person_id: str) -> Lead | None:
        """The lead of a person, or the one that it was merged into."""
        return self._leads.get(self._of_person.get(person_id, ""))

    def insert(self, new: list[FreshLead]) -> None:
        """Insert leads of persons who have none, each to be captured, as the batch will leave them.

        One that another made first counts.
        """
        if records.save_leads(self._tx, [(addition.later, addition.facets) for addition in new]) < len(new):
            self._read({addition.lead.person_id for addition in new})
        for addition in new:
            lead = addition.lead
            if self._of_person.setdefault(lead.person_id, lead.id) == lead.id:
                self._rows[lead.id] = addition.later
                self._leads[lead.id] = lead
                self._points[lead.id] = {}
                self._uncaptured.add(lead.id)
                self.fresh.add(lead.id)

    def is_uncaptured(self, lead: Lead) -> bool:
        """Report whether this batch inserted a lead, and its first signal is still to come."""
        return lead.id in self._uncaptured

    def capture(self, lead: Lead) -> None:
        self._uncaptured.discard(lead.id)

    def points_of(self, lead: Lead) -> Points:
        """The contact points of a lead; the first who asks has those of all leads read."""
        if lead.id not in self._points:
            unread = self._leads.keys() - self._points.keys()
            for lead_id, some in records.list_contact_points(self._tx, self.business_id, unread).items():
                points = {detail_key(point.field, point.value): point for point in reversed(some)}
                self._points[lead_id] = points
        return self._points[lead.id]

    def has_origin(self, lead: Lead, origin: Origin) -> bool:
        """Report whether a lead has a contact point of this origin, so that filters match it already."""
        return any(point.origin is origin for point in self.points_of(lead).values())

    def put_point(self, lead: Lead, point: ContactPoint, *, is_new: bool) -> None:
        """Keep a contact point that is new, or that began earlier than was known."""
        self._points[lead.id][detail_key(point.field, point.value)] = point
        if is_new or point.id in self._new_points:
            self._new_points[point.id] = point
        else:
            self._moved_points[point.id] = point

    def add_evidence(self, item: Evidence) -> None:
        self._evidence.append(item)

    def add_entry(self, entry: FormEntry, *, makes_lead: bool) -> None:
        """Note a form that a lead came by; if it is there already, it stays that of another lead.

        One that could not have made a lead is not in the facets that new leads are inserted with.
        """
        if not makes_lead:
            self.fresh.discard(entry.lead_id)
        self._entries.append(entry)

    def note(self, step: HistoryEntry) -> None:
        """Append a line to the history of a lead."""
        self._steps.append(step)

    def put(self, lead: Lead) -> Lead:
        """A lead as it is by now, its row being so already."""
        self._leads[lead.id] = lead
        return lead

    def move(self, lead: Lead, **values: Any) -> Lead:
        """Change the name of a lead, its last activity or its beginning."""
        (self._started if "created_at" in values else self._active).add(lead.id)
        return self.put(replace(lead, **values))

    def _is_stale(self, lead_id: str) -> bool:
        """Report whether a lead's row has an outdated name or last activity."""
        row, lead = self._rows.get(lead_id), self._leads[lead_id]
        return row is None or (row.name, row.updated_at) != (lead.name, lead.updated_at)

    def write(self) -> None:
        """Write what the leads got."""
        tx, business_id = self._tx, self.business_id
        records.save_contact_points(tx, business_id, self._new_points.values())
        records.record_point_starts(tx, business_id, self._moved_points.values())
        records.append_all_evidence(tx, self._evidence)
        records.append_steps(tx, business_id, self._steps)
        if append_entries(tx, business_id, self._entries) < len(self._entries):
            self.fresh -= {entry.lead_id for entry in self._entries}  # one came by a form of another's
        stale = [self._leads[lead_id] for lead_id in sorted(self._active) if self._is_stale(lead_id)]
        records.record_activities(tx, stale)
        records.record_lead_starts(tx, [self._leads[lead_id] for lead_id in sorted(self._started)])
