"""What each role may do, and what names, addresses, passwords and zones must look like."""

import pytest

from contatto.accounts.auth import may, require
from contatto.accounts.model import Permission, Role
from contatto.accounts.rules import (
    ROLE_PERMISSIONS,
    check_password,
    check_timezone,
    normal_email,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from tests import make

ALLOWED = {
    #                      owner  admin  manager agent  analyst
    Permission.READ_INBOX: (True, True, True, True, False),
    Permission.WRITE_INBOX: (True, True, True, True, False),
    Permission.READ_LEADS: (True, True, True, True, False),
    Permission.WRITE_LEADS: (True, True, True, True, False),
    Permission.EXPORT_LEADS: (True, True, True, False, False),
    Permission.ERASE_LEADS: (True, True, False, False, False),
    Permission.READ_ADS: (True, True, True, False, True),
    Permission.WRITE_ADS: (True, True, True, False, False),
    Permission.READ_REPORTS: (True, True, True, False, True),
    Permission.ADMINISTER: (True, True, False, False, False),
}


def test_the_table_of_roles_is_whole() -> None:
    assert set(ALLOWED) == set(Permission)
    assert set(ROLE_PERMISSIONS) == set(Role)


@pytest.mark.parametrize("permission", Permission)
def test_each_role_may_do_what_the_table_says_and_nothing_else(permission: Permission) -> None:
    callers = [make.caller(role) for role in Role]
    assert tuple(may(caller, permission) for caller in callers) == ALLOWED[permission]
    for caller, allowed in zip(callers, ALLOWED[permission], strict=True):
        if allowed:
            require(caller, permission)
        else:
            with pytest.raises(Refused) as refused:
                require(caller, permission)
            assert refused.value.code is errors.FORBIDDEN


def test_an_address_for_signing_in_is_trimmed_and_lower_case() -> None:
    assert normal_email("  Owner@Example.COM ") == "owner@example.com"


@pytest.mark.parametrize(
    "text",
    ["", "owner", "@example.com", "owner@", "owner@localhost", "a b@example.com", "a\0@example.com",
     "x" * 65 + "@example.com", "a@" + "x" * 250 + ".com", "a\n@example.com"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="email"):
        normal_email(text)


@pytest.mark.parametrize(("length", "good"), [(9, False), (10, True), (200, True), (201, False)])
def test_a_password_has_ten_to_two_hundred_characters(length: int, good: bool) -> None:
    if good:
        check_password("x" * length)
    else:
        with pytest.raises(Refused):
            check_password("x" * length)


def test_a_zone_is_an_iana_name() -> None:
    check_timezone("Asia/Singapore")
    for name in ("", "Mars/Base", "../../etc/passwd", "+08:00"):
        with pytest.raises(Refused):
            check_timezone(name)
