"""Sealing the log that delivery learns from: days of decisions as files beside those of touches."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from contatto.delivery.actions.packing import read_record
from contatto.delivery.engines.decisions import (
    Logged,
    check_decisions,
    drop_file,
    forget_in_files,
    has_new_files,
    moved_decisions,
    take_new_files,
    write_decisions,
)
from contatto.delivery.model.files import DecisionFile
from contatto.delivery.model.log import Entry, EntryKind, ViewerSaid
from contatto.delivery.store import files, log
from contatto.kit.background import Job, MaintenanceJob, Record
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import from_micros
from contatto.measurement.rules import natural_number

AT_ONCE: Final = 2_000
_SAID: Final = (EntryKind.CONVERSATION, EntryKind.LEAD, EntryKind.SPAM, EntryKind.QUALITY)
_SEALING: Final = natural_number("sealing days of decisions")


def decision_sealing_job(folder: Path, age_days: int, keep_days: int) -> MaintenanceJob:
    """What files of decisions need: days that are over are written, who was erased and what is old goes."""

    def list_jobs(tx: Tx) -> list[Job]:
        listed = files.list_decision_files(tx)
        jobs: list[Job] = [partial(_adopt, file=file) for file in moved_decisions(listed, folder)]
        if has_new_files(listed):
            jobs.append(_take_new)
        oldest = (tx.now - timedelta(days=keep_days)).date().isoformat()
        jobs += [partial(_drop, file=file) for file in listed if file.day < oldest]
        for business_id in files.list_forgetting_businesses(tx):
            jobs += [partial(_forget, business_id=business_id), _take_new]
        last_day = (tx.now - timedelta(days=age_days)).date()
        jobs += [
            partial(_seal, folder=folder, stream=stream, last_day=last_day)
            for stream in log.list_unsealed_streams(tx)
            if _day_of_next(tx, stream) <= last_day
        ]
        return jobs

    return MaintenanceJob(folder, _SEALING, list_jobs)


def _day_of_next(tx: Tx, stream: log.Stream) -> date:
    entries = log.list_entries(tx, stream.business_id, stream.sealed_seq, 1)
    return _day_of(entries[0]) if entries else date.max


def _day_of(entry: Entry) -> date:
    return from_micros(entry.arrived_ts or entry.ts).date()


def _seal(tx: Tx, folder: Path, stream: log.Stream, last_day: date) -> Record:
    """Write the entries of days that are over, in the order in which they came: a file for each day."""
    made = [
        write_decisions(folder, stream.business_id, day.isoformat(), some)
        for day, some in groupby(
            _list_logged(tx, stream.business_id, stream.sealed_seq, last_day),
            lambda each: _day_of(each.entry),
        )
    ]

    def record(tx: Tx) -> None:
        for file in made:
            files.append_decision_file(tx, file)
        log.record_sealed(tx, stream.business_id, made[-1].last_seq)

    return record


def _list_logged(tx: Tx, business_id: str, after_seq: int, last_day: date) -> Iterator[Logged]:
    for entry in log.list_all_entries(tx, business_id, after_seq, AT_ONCE):
        if _day_of(entry) > last_day:
            return
        yield _opened(entry)


def _opened(entry: Entry) -> Logged:
    """Entries of ad groups and ads stay what they are: a place in the order."""
    if entry.kind is EntryKind.DECISION:
        return Logged(entry, read_record(entry.body))
    if entry.kind in _SAID:
        said = msgspec.msgpack.decode(entry.body, type=ViewerSaid)
        return Logged(entry, said=said.said, ts=said.ts)
    return Logged(entry)


def _adopt(_tx: Tx, file: DecisionFile) -> Record:
    """Take a file where it is found now.

    Raises:
        OSError: it is not the file that was written.
    """
    check_decisions(file)
    return partial(files.record_decision_file, file=file)


def _forget(tx: Tx, business_id: str) -> Record:
    """Let the files of a business forget those who were erased.

    Raises:
        OSError: a file is gone or changed, or the disk fails.
    """
    persons = files.list_forgotten(tx, business_id)
    decision_files = forget_in_files(files.list_decision_files_of(tx, business_id), persons)

    def record(tx: Tx) -> None:
        for file in decision_files:
            files.record_decision_file(tx, file)
        files.delete_forgotten(tx, business_id, persons)

    return record


def _take_new(tx: Tx) -> None:
    take_new_files(files.list_decision_files(tx))


def _drop(_tx: Tx, file: DecisionFile) -> Record:
    drop_file(file)
    return partial(files.delete_decision_file, file=file)
