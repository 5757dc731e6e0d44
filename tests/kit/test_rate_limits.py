"""The rate limit of public doors."""

import pytest

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.rate_limits import RateLimit, network_of


def test_tries_beyond_the_limit_are_refused_with_the_seconds_to_wait() -> None:
    limit = RateLimit(3, 60)
    for now_s in (0.0, 10.0, 20.0):
        limit.check("a", now_s)
    with pytest.raises(Refused) as refused:
        limit.check("a", 30.0)
    assert refused.value.code is errors.TOO_MANY
    assert refused.value.retry_after_s == 31


def test_after_the_wait_that_was_told_the_next_try_passes() -> None:
    limit = RateLimit(1, 60)
    limit.check("a", 0.0)
    with pytest.raises(Refused) as refused:
        limit.check("a", 59.5)
    limit.check("a", 59.5 + (refused.value.retry_after_s or 0))


def test_a_refused_try_does_not_prolong_the_wait() -> None:
    limit = RateLimit(1, 60)
    limit.check("a", 0.0)
    for now_s in (30.0, 59.0):
        with pytest.raises(Refused):
            limit.check("a", now_s)
    limit.check("a", 60.0)


def test_keys_do_not_count_for_each_other() -> None:
    limit = RateLimit(1, 60)
    limit.check("a", 0.0)
    limit.check("b", 0.0)


def test_the_keys_that_were_quiet_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contatto.kit.rate_limits._MOST_KEYS", 2)
    limit = RateLimit(1, 60)
    for key in ("a", "b", "c"):
        limit.check(key, 0.0)
    limit.check("a", 1.0)
    with pytest.raises(Refused):
        limit.check("c", 1.0)


@pytest.mark.parametrize(
    ("address", "network"),
    [("198.51.100.7", "198.51.100.7"), ("::ffff:198.51.100.7", "198.51.100.7"), ("testclient", "testclient"),
     ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::", "2001:db8:1:2::/64"),
     ("fe80::1%eth0", "fe80::/64"), ("", "")],
)  # fmt: skip
def test_a_subscriber_is_one_stranger_whatever_addresses_they_take(address: str, network: str) -> None:
    assert network_of(address) == network
