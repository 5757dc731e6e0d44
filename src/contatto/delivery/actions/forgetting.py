"""Forgetting viewers in the log that delivery learns from, for whoever erases their leads."""

from typing import Final
from uuid import UUID

import msgspec

from contatto.audiences.actions import drop_viewers
from contatto.delivery.actions.packing import encode_record, read_record
from contatto.delivery.model.log import NOBODY, Record
from contatto.delivery.rules.asking import OURS
from contatto.delivery.store import files
from contatto.delivery.store import log as entries
from contatto.delivery.store.ledger import record_nobody_promised
from contatto.kit.db.tx import Tx
from contatto.leads.model import ErasedPeople
from contatto.measurement.store import list_viewers_of

_OF_THE_PLACE: Final = frozenset({f"{OURS}placement", f"{OURS}account"})
"""Features that say where an ad stands; all others are of the viewer."""


def forget_viewers(tx: Tx, gone: ErasedPeople) -> set[str]:
    """Take persons out of the log: their ids, whom they were remembered as, and what was known of them.

    Persons are those who wrote, and the viewers of publishers that their taps showed them to be. Views and
    taps stay as entries of nobody; their decisions keep what they cost and which ads took part. Such a
    decision cannot be made again, and where it was not learned yet it teaches nothing. Files of decisions
    forget them with the next sealing.

    Returns:
        No contact values: the log holds none.
    """
    business_id = gone.business_id
    persons = set(gone.person_ids)
    for person_id in gone.person_ids:
        persons.update(list_viewers_of(tx, business_id, person_id))
    decisions = entries.list_decisions_of(
        tx, business_id, entries.list_nonces_of_persons(tx, business_id, persons)
    )
    known_as = {read_record(each.body).viewer for each in decisions} - {NOBODY}
    seen = {each.seq for each in decisions}
    decisions += [
        each for each in entries.list_decisions_for(tx, business_id, known_as) if each.seq not in seen
    ]
    for decision in decisions:
        body = encode_record(without_viewer(read_record(decision.body)))
        entries.record_body(tx, business_id, decision.seq, body)
    entries.record_nobody(tx, business_id, persons | known_as)
    record_nobody_promised(tx, business_id, known_as)
    files.append_forgotten(tx, business_id, persons | known_as)
    drop_viewers(tx, business_id, {UUID(viewer).bytes for viewer in known_as})
    return set()


def without_viewer(record: Record) -> Record:
    """A decision without the viewer whom it was for."""
    place = {name: value for name, value in record.features.items() if name in _OF_THE_PLACE}
    return msgspec.structs.replace(record, viewer=NOBODY, features=place, known={}, shown=None)
