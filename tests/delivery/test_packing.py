"""Decisions on their way to the log: packed between answers, and by whoever writes them down before that."""

import asyncio

from contatto.delivery.actions.ledger import LoggedDecision, Packer, encode_record, read_record
from contatto.learning.model import Record


def decision(number: int) -> LoggedDecision:
    record = Record(number, 0, 1, 1, 1, "", "SG", 1, {"says": ["tea"]}, [1, 2], [], [], {}, {})
    return LoggedDecision(record, None)


def test_decisions_are_packed_one_a_turn_behind_the_answers() -> None:
    noted = [decision(number) for number in range(3)]

    async def work() -> list[int]:
        packer, packed = Packer(), []
        for each in noted:
            packer.add(each)
        for _ in range(4):
            packed.append(sum(bool(each.body) for each in noted))
            await asyncio.sleep(0)
        return packed

    assert asyncio.run(work()) == [0, 1, 2, 3]
    assert [read_record(each.body) for each in noted] == [each.record for each in noted]


def test_what_was_written_down_before_its_turn_is_not_packed_again() -> None:
    written, waiting = decision(1), decision(2)

    async def work() -> None:
        packer = Packer()
        packer.add(written)
        packer.add(waiting)
        written.body = b"as it was written"
        await asyncio.sleep(0)

    asyncio.run(work())
    assert written.body == b"as it was written"
    assert waiting.body == encode_record(waiting.record)


def test_a_loop_that_ended_leaves_its_decisions_to_the_next_one() -> None:
    packer, left, later = Packer(), decision(1), decision(2)

    async def begin() -> None:
        packer.add(left)

    async def go_on() -> None:
        packer.add(later)
        while not later.body:
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    asyncio.run(go_on())
    assert left.body
