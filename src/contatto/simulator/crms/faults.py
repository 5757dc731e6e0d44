"""What real CRMs do to an integration, as plays: each does one thing and looks what came of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Final

from contatto.crm.model import (
    ChangesListed,
    Cursor,
    EraseRecord,
    ErasureLevel,
    FindBy,
    FoundRecords,
    ListChanges,
    ReadRecord,
    Unsupported,
)
from contatto.crm.rules.deliveries import Arrived
from contatto.simulator.crms.bench import LEADS, Bench, NotApplicable, Wrong
from contatto.simulator.crms.google_sheets import GoogleSheetsFake
from contatto.simulator.crms.salesforce import SalesforceFake
from contatto.simulator.crms.server import Fault
from contatto.simulator.crms.speaking import NoReply

type Play = Callable[[Bench], None]

STORM: Final = 10
"""Requests in a row that are turned away."""


def _expired(bench: Bench) -> None:
    bench.needs(bench.case.connector != "webhook", "a signature does not expire")
    bench.fail(None, Fault.EXPIRED)
    bench.deliver(bench.payload())
    bench.check(bench.payload())


def _exists(bench: Bench) -> None:
    """Somebody typed the person in by hand before."""
    bench.needs(FindBy.EMAIL in bench.traits.finds_by, "it is not searched by contact details")
    values = {name: value for name, value in bench.case.ada.items() if name != bench.crm.our_id}
    bench.server.vendor.crm.make(values)
    bench.deliver(bench.payload())
    bench.check(bench.payload())


def _one(*faults: Fault | None) -> Play:
    """A fault of some requests while a lead is brought there for the first time."""

    def play(bench: Bench) -> None:
        bench.needs(bench.traits.reads_back or Fault.HTML not in faults, "its 2xx says all")
        for before in range(4):  # at each request of the sequence
            bench.fail(*[None] * before, *faults)
            bench.deliver(bench.payload(before))
            bench.server.faults.clear()
        bench.check(*map(bench.payload, range(4)))

    return play


def _lag(bench: Bench) -> None:
    """The answer is lost, and a search does not find yet what was made."""
    bench.crm.lag = 1
    bench.fail(*[None] * (len(bench.traits.finds_by)), Fault.LOST)
    outcome = bench.speaker.deliver(bench.payload())
    bench.crm.lag = 0
    if not isinstance(outcome, Arrived):
        bench.deliver(bench.payload())
    records = bench.records()
    if len(records) > 1 and not bench.traits.upserts and bench.traits.search_lag_s > 0:
        raise NotApplicable(f"the engine waits {bench.traits.search_lag_s:g} s before it looks again")
    bench.check(bench.payload())


def _merged(bench: Bench) -> None:
    _merge_with_a_stranger(bench, keeps_our_id=True)


def _merged_without_our_id(bench: Bench) -> None:
    """What is left of both does not carry our id: that of the other record, none, won."""
    _merge_with_a_stranger(bench, keeps_our_id=False)


def _merge_with_a_stranger(bench: Bench, *, keeps_our_id: bool) -> None:
    bench.needs(bench.traits.reads_back and not _is_sheet(bench), "it has no merges")
    first = bench.deliver(bench.payload())
    second = bench.server.vendor.crm.make({**bench.case.ada, bench.case.email: "ada@example.org"})
    second.values.pop(bench.crm.our_id, None)
    left = bench.crm.merge(first, second.id)
    if not keeps_our_id:
        left.values.pop(bench.crm.our_id, None)
    changed = bench.payload(0, 2, **{bench.case.phone: "+6598765432", bench.case.email: "ada@example.org"})
    bench.deliver(changed, first)
    bench.check(changed)


def _two_merged(bench: Bench) -> None:
    """People make one record of two leads': it stays that of the one whose id it carries."""
    bench.needs(bench.traits.reads_back and not _is_sheet(bench), "it has no merges")
    first, second = bench.deliver(bench.payload()), bench.deliver(bench.payload(1))
    bench.crm.merge(second, first)
    ada, other = bench.payload(0, 2), bench.payload(1, 2)
    for _ in range(2):
        bench.deliver(other, second)
        bench.deliver(ada, first)
    # who is not told of the merge finds nothing of the other lead, and makes it anew
    bench.check(*([ada] if bench.case.tells_merges else [ada, other]))


def _converted(bench: Bench) -> None:
    vendor = bench.server.vendor
    bench.needs(isinstance(vendor, SalesforceFake), "it converts no records into others")
    assert isinstance(vendor, SalesforceFake)  # noqa: S101 - for the types
    contact = vendor.convert(bench.deliver(bench.payload()))
    changed = bench.payload(0, 2, **{bench.case.phone: "+6598765432"})
    if bench.deliver(changed, contact) != contact or vendor.contacts[contact]["Phone"] != "+6598765432":
        raise Wrong("the contact that the lead became was not written to")


def _deleted(bench: Bench) -> None:
    bench.needs(bench.traits.reads_back, "it has no records to be read")
    first = bench.deliver(bench.payload())
    if _is_sheet(bench):
        vendor = bench.server.vendor
        assert isinstance(vendor, GoogleSheetsFake)  # noqa: S101 - for the types
        vendor.rows.pop()
    else:
        bench.crm.delete(first)
    bench.deliver(bench.payload(0, 2), first)
    bench.check(bench.payload(0, 2))


def _field_gone(bench: Bench) -> None:
    """A field that is mapped does not exist: the rest arrives, and the value stands in the note."""
    bench.needs(bench.case.names_fields, "it passes over fields that it does not have")
    bench.deliver(bench.payload())
    bench.deliver(bench.payload(1, Gone="Blue"))
    bench.check(bench.payload(), bench.payload(1))
    if not any("Blue" in str(text) for text in _notes(bench)):
        raise Wrong("the value of the field is in no note")


def _value_gone(bench: Bench) -> None:
    bench.needs(bench.case.bad_value, "it has no lists")
    name, value = bench.case.bad_value or ("", "")
    bench.deliver(bench.payload(0, 1, **{name: value}))
    bench.check(bench.payload())
    if not any(value in str(text) for text in _notes(bench)):
        raise Wrong("the value is in no note")


def _killed(bench: Bench) -> None:
    """Killed between the write and the note of it: all begins again, and nothing is remembered."""
    for number in range(4):
        bench.deliver(bench.payload(number))
        bench.deliver(bench.payload(number))
    bench.check(*map(bench.payload, range(4)))


def _disabled(bench: Bench) -> None:
    """A target was off for seven days: only the latest of each lead goes there, and is all there is."""
    for number in range(6):
        if number % 2:
            bench.deliver(bench.payload(number))
    late = [bench.payload(number, 5, **{bench.case.phone: f"+6587654{number:03d}"}) for number in range(6)]
    for payload in late:
        bench.deliver(payload)
    bench.check(*late)


def _restored(bench: Bench) -> None:
    """Restored from an older backup: what came after it is gone, and ids are given anew to strangers."""
    bench.needs(bench.traits.reads_back and not _is_sheet(bench), "it has no ids of its own")
    bench.deliver(bench.payload())
    old = bench.crm.backup()
    ids = [bench.deliver(bench.payload(number)) for number in (1, 2)]
    bench.crm.records = old
    bo = {bench.case.email: "bo@example.org", bench.case.phone: "+6580000000"}
    stranger = bench.crm.make({**bench.case.ada, **bo})
    if stranger.id != ids[0]:
        del bench.crm.records[stranger.id]
        bench.crm.records[ids[0]] = replace(stranger, id=ids[0])
    for number, stored in ((1, ids[0]), (2, ids[1])):
        bench.deliver(bench.payload(number, 2), stored)
    left = bench.crm.records.pop(ids[0])
    if left.values.get(bench.case.email) != "bo@example.org" or left.values.get(bench.crm.our_id):
        raise Wrong("a stranger's record was written to")
    bench.check(bench.payload(), bench.payload(1, 2), bench.payload(2, 2))


def _skewed(bench: Bench) -> None:
    """The CRM's clock is a day off: changes are told all the same, since its own times are compared."""
    bench.crm.skew = timedelta(days=-1)
    _told_once(bench)


def _told_once(bench: Bench) -> None:
    _needs_changes(bench)
    for number in range(6):
        bench.deliver(bench.payload(number))
    told: list[str] = []
    cursor = Cursor()
    for _ in range(12):
        reply = bench.speaker.do(ListChanges(cursor))
        if not isinstance(reply, ChangesListed):
            raise Wrong("changes are not told")
        told += [change.external_id for change in reply.changes]
        if not reply.changes:
            break
        cursor = reply.cursor
    else:
        raise Wrong("changes never end")
    if sorted(told) != sorted(LEADS[:6]):
        raise Wrong(f"{len(told)} changes of 6 leads are told")


def _repeated(bench: Bench) -> None:
    """A page comes again and again: no loop, and the cursor does not go back."""
    _needs_changes(bench)
    bench.deliver(bench.payload())
    first = bench.speaker.do(ListChanges(Cursor()))
    again = bench.speaker.do(ListChanges(Cursor()))
    if not isinstance(first, ChangesListed) or not isinstance(again, ChangesListed):
        raise Wrong("changes are not told")
    if first.cursor != again.cursor or again.is_more:
        raise Wrong("the same page gives another cursor")


def _needs_changes(bench: Bench) -> None:
    bench.needs(bench.traits.tells_changes, "it tells no changes")
    bench.needs(bench.case.connector != "pipedrive", "it tells of deals, which nobody has made here")


def _twice(bench: Bench) -> None:
    """Two revisions of a lead in the wrong order of their answers: the latest one stays."""
    bench.deliver(bench.payload())
    late = bench.payload(0, 2, **{bench.case.phone: "+6598765432"})
    bench.fail(*[None] * 3, Fault.LOST)
    with suppress(Wrong):
        bench.deliver(late)
    bench.deliver(late)
    bench.check(late)


def _erased(bench: Bench) -> None:
    """A person is erased while the CRM is down, and a read finds nothing in the end."""
    bench.needs(bench.traits.erases is not ErasureLevel.NONE, "it cannot erase")
    record_id = bench.deliver(bench.payload())
    bench.fail(Fault.DOWN, Fault.LOST)
    for _ in range(4):
        with suppress(NoReply):
            bench.speaker.do(EraseRecord(record_id, LEADS[0]))
    found = bench.speaker.do(ReadRecord(record_id)) if bench.traits.reads_back else Unsupported()
    if isinstance(found, FoundRecords) or bench.records():
        raise Wrong("something of the person is left")


def _notes(bench: Bench) -> Iterator[object]:
    vendor = bench.server.vendor
    yield from getattr(vendor, "notes", {}).values()
    for record in bench.records():
        yield from record.values()


def _is_sheet(bench: Bench) -> bool:
    return isinstance(bench.server.vendor, GoogleSheetsFake)


FAULTS: Final[Mapping[str, Play]] = {
    "expired token": _expired,
    "exists already": _exists,
    "too many requests": _one(Fault.THROTTLED),
    "a storm of 429": _one(*[Fault.THROTTLED] * STORM),
    "server error": _one(Fault.DOWN),
    "connection reset": _one(Fault.RESET),
    "slow": _one(Fault.SLOW),
    "made, and the answer lost": _one(Fault.LOST),
    "lost, and lost again": _one(Fault.LOST, Fault.LOST, Fault.LOST),
    "HTML instead of JSON": _one(Fault.HTML),
    "down and slow in turn": _one(Fault.DOWN, Fault.RESET, Fault.THROTTLED, Fault.LOST),
    "search lags behind": _lag,
    "merged there": _merged,
    "merged there, our id lost": _merged_without_our_id,
    "two leads merged there": _two_merged,
    "converted there": _converted,
    "deleted there": _deleted,
    "field deleted": _field_gone,
    "value of a list gone": _value_gone,
    "killed between write and note": _killed,
    "off for seven days": _disabled,
    "restored from a backup": _restored,
    "clock a day off": _skewed,
    "changes of one moment": _told_once,
    "a page comes again": _repeated,
    "answers in the wrong order": _twice,
    "erased while it is down": _erased,
}
"""Fault → how it is played."""
