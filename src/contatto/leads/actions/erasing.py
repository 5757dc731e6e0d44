"""Erasing people: all that tells of them goes from every table, and a tombstone stays for each lead.

It cannot be undone: nothing is kept to undo it with. See decision 0033.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl

from contatto.capture import actions as capture
from contatto.kit.db.tx import Tx
from contatto.kit.outbox import emit
from contatto.leads.actions.records import refresh_facets
from contatto.leads.model import ErasedPeople, JobKind, JobState, Lead, LeadRemoved
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.records import tells_of, without_person
from contatto.leads.store import records
from contatto.leads.store.facets import list_sharing_leads
from contatto.leads.store.jobs import (
    delete_traces,
    delete_views,
    list_plans,
    list_row_numbers,
    list_view_queries,
    list_written_values,
    record_erased,
    record_plan,
)
from contatto.typed.actions import forget_kept_pages

NOBODY: Final = "q=%E2%90%80"
"""A query that no lead matches."""


def erase_leads(tx: Tx, business_id: str, chosen_leads: Sequence[Lead], actor: str) -> set[str]:
    """Erase leads with those that were merged into them, and say which leads that were.

    Everything goes in this transaction. What ads earned stays in the reports: it holds ids alone.

    Raises:
        MissingPart: the installation does not say who else holds something of a person.
    """
    ports = tx.ports[LeadPorts]
    ports.hold_chats(tx, business_id, _persons_of(tx, chosen_leads))
    locked = [_with_merged(tx, lead) for lead in chosen_leads]
    erased = {lead.id: lead for leads in locked for lead in leads}
    twins = list_sharing_leads(tx, business_id, set(erased))
    erased_people = _gone(tx, business_id, list(erased.values()))
    forget_ports = ports.forget_chats, ports.forget_answers, ports.forget_audiences, ports.forget_viewers
    for forget in forget_ports:
        erased_people = replace(erased_people, contacts=erased_people.contacts | forget(tx, erased_people))
    capture.forget_corrections(tx, business_id, erased_people.contacts)
    _forget_plans(tx, erased_people)
    _forget_views(tx, erased_people)
    forget_kept_pages(tx, business_id)
    delete_traces(tx, erased_people)
    for lead in erased.values():
        record_erased(tx, lead, actor)
        emit(tx, business_id, LeadRemoved(business_id, lead.id, lead.conversation_id))
    ports.leads_gone(tx, business_id, set(erased))
    refresh_facets(tx, business_id, twins - set(erased))
    return set(erased)


def _persons_of(tx: Tx, leads: Sequence[Lead]) -> set[str]:
    merged = [
        merged_lead
        for lead in leads
        for merged_lead in records.list_merged_leads(tx, lead.business_id, lead.id)
    ]
    return {lead.person_id for lead in (*leads, *merged)}


def _with_merged(tx: Tx, lead: Lead) -> list[Lead]:
    """A lead and those that went into it, locked."""
    merged = records.list_merged_leads(tx, lead.business_id, lead.id)
    ids = {lead.id, *(source.id for source in merged)}
    return list(records.list_leads_to_change(tx, lead.business_id, ids).values())


def _gone(tx: Tx, business_id: str, erased: list[Lead]) -> ErasedPeople:
    ids = frozenset(lead.id for lead in erased)
    points = records.list_contact_points(tx, business_id, ids)
    values = {point.value for lead_points in points.values() for point in lead_points}
    return ErasedPeople(
        business_id,
        lead_ids=ids,
        person_ids=frozenset(lead.person_id for lead in erased),
        contacts=frozenset(values | list_written_values(tx, business_id, ids)),
        names=frozenset(lead.name for lead in erased if lead.name),
    )


def _forget_plans(tx: Tx, erased: ErasedPeople) -> None:
    """Empty the rows of imports that were about the person, and the searches of jobs."""
    for job_id, kind, state, plan in list_plans(tx, erased.business_id):
        if kind is JobKind.IMPORT:
            numbers = list_row_numbers(tx, erased.business_id, job_id, erased.lead_ids)
            rows = without_person(plan.rows, numbers, erased.contacts, plan.numbers)
            fresh = replace(plan, rows=rows)
        elif _searches(plan.query, erased):
            fresh = replace(plan, query="" if state is JobState.DONE else NOBODY)
        else:
            continue
        if fresh != plan:
            record_plan(tx, erased.business_id, job_id, fresh)


def _forget_views(tx: Tx, erased: ErasedPeople) -> None:
    queries = list_view_queries(tx, erased.business_id)
    about = {view_id for view_id, query in queries.items() if _searches(query, erased)}
    if about:
        delete_views(tx, erased.business_id, about)


def _searches(query: str, erased: ErasedPeople) -> bool:
    """Report whether a saved query searches for the person."""
    typed = (value for word, value in parse_qsl(query) if word == "q")
    return any(tells_of(text, erased.contacts, erased.names) for text in typed)
