"""Ids: their layout, their order, and that none comes twice."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from contatto.kit.ids import hash_secret, named_id, new_id, new_number, new_secret, seeded_ids, timed_id

NAMESPACE = "0190a5a1-7c2e-7aaa-8000-000000000001"


def test_a_new_id_is_a_uuid_of_version_seven_that_holds_its_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= after


def test_ids_of_later_milliseconds_sort_after_earlier_ones() -> None:
    made = []
    for _ in range(5):
        made.append(new_id())
        time.sleep(0.002)
    assert made == sorted(made)


def test_no_id_comes_twice() -> None:
    assert len({new_id() for _ in range(20_000)}) == 20_000


def test_numbers_have_nineteen_digits_and_fit_a_signed_64_bit_column() -> None:
    number = new_number()
    assert len(str(number)) == 19
    assert number < 2**63


def test_numbers_of_many_threads_are_all_different() -> None:
    start = threading.Barrier(8)

    def make() -> list[int]:
        start.wait()
        return [new_number() for _ in range(5_000)]

    with ThreadPoolExecutor(8) as threads:
        made = [number for done in [threads.submit(make) for _ in range(8)] for number in done.result()]
    assert len(set(made)) == len(made)


def test_numbers_of_later_milliseconds_are_greater() -> None:
    first = new_number()
    time.sleep(0.002)
    assert new_number() > first


def test_a_named_id_follows_from_its_name_alone() -> None:
    assert named_id(NAMESPACE, "a") == named_id(NAMESPACE, "a")
    assert named_id(NAMESPACE, "a") != named_id(NAMESPACE, "b")
    assert named_id(NAMESPACE, "a") != named_id(new_id(), "a")
    assert uuid.UUID(named_id(NAMESPACE, "a")).version == 5


def test_a_timed_id_follows_from_its_moment_and_name_and_sorts_by_its_moment() -> None:
    at = 1_700_000_000_000
    made, other, later = (
        timed_id(*which) for which in ((at, NAMESPACE, "a"), (at, NAMESPACE, "b"), (at + 1, NAMESPACE, "a"))
    )
    read = uuid.UUID(made)
    assert (read.version, read.variant, read.int >> 80) == (8, uuid.RFC_4122, at)
    assert made == timed_id(at, NAMESPACE, "a")
    assert made != other
    assert later > max(made, other)


def test_a_secret_says_what_it_is_and_its_hash_does_not_hold_it() -> None:
    secret = new_secret("session")
    assert secret.startswith("session_")
    assert len(secret) > len("session_") + 40
    assert secret != new_secret("session")
    assert hash_secret(secret) == hash_secret(secret)
    assert secret not in hash_secret(secret)
    assert len(hash_secret(secret)) == 64


def test_ids_sort_as_they_were_made_however_many_a_millisecond_has() -> None:
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_seeded_ids_are_the_same_each_time_and_random_again_afterwards() -> None:
    made = []
    for _ in range(2):
        with seeded_ids(5, 1_700_000_000_000):
            made.append([new_id(), new_id(), str(new_number()), str(new_number())])
    assert made[0] == made[1]
    assert len(set(made[0])) == 4
    assert new_id() not in made[0]
