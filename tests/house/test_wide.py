"""The table of wide tests names tests that exist, and what must be in the default run is there."""

from pathlib import Path

from tests.wide import (
    FEW_ON_POSTGRESQL,
    ON_POSTGRESQL_TOO,
    VALUES_MATTER,
    WHOLE_HOUSES,
    WIDE,
    further_values,
    is_wide,
)

TESTS = Path(__file__).parents[1]


def test_every_wide_test_exists() -> None:
    for named in WIDE:
        file, _, test = named.partition("::")
        assert f"def {test.partition('[')[0]}" in (TESTS / file).read_text(), named


def test_every_file_and_folder_of_the_rule_exists() -> None:
    assert all((TESTS / each).exists() for each in (*WHOLE_HOUSES, *ON_POSTGRESQL_TOO, *FEW_ON_POSTGRESQL))


def test_every_test_that_stays_on_postgresql_exists() -> None:
    stay = [(file, name) for file, names in FEW_ON_POSTGRESQL.items() for name in names]
    stay += [(file, name) for file, _, name in (each.partition("::") for each in VALUES_MATTER) if name]
    for file, name in stay:
        assert f"def {name}" in (TESTS / file).read_text(), (file, name)


def test_of_a_file_that_is_made_in_part_on_postgresql_the_named_tests_stay() -> None:
    made = "tests/delivery/test_training.py::test_two_learners_do_not_publish_the_same_twice"
    left_out = "tests/delivery/test_training.py::test_learning_counts_what_was_credited"
    assert not is_wide(f"{made}[postgresql]", ["database"])
    assert is_wide(f"{left_out}[postgresql]", ["database"])
    assert not is_wide(f"{left_out}[sqlite]", ["database"])


def test_a_further_value_on_postgresql_is_wide_but_where_it_is_another_statement() -> None:
    tests = [
        f"tests/{name}[{database}-{value}]"
        for name in ("forms/test_actions.py::test_x", "kit/test_prepared.py::test_x")
        for database in ("sqlite", "postgresql")
        for value in (1, 2)
    ]
    assert further_values(tests) == {"tests/forms/test_actions.py::test_x[postgresql-2]"}


def test_stores_and_rows_of_tenants_are_tested_on_postgresql_in_the_default_run() -> None:
    for kept, fixture in (
        ("tests/kit/test_row_security.py::test_x[postgresql]", "database"),
        ("tests/leads/test_actions.py::test_x[postgresql]", "database"),
        ("tests/people/test_members.py::test_the_last_owner_stays[postgresql]", "database_url"),
    ):
        assert not is_wide(kept, [fixture])


def test_a_page_is_tested_once_more_on_postgresql_in_the_wide_run() -> None:
    assert is_wide("tests/jobs/test_pages.py::test_x[postgresql]")
    assert not is_wide("tests/jobs/test_pages.py::test_x[sqlite]")
    assert is_wide("tests/reports/test_tasks.py::test_x[postgresql]", ["database_url"])
    assert not is_wide("tests/reports/test_tasks.py::test_x[postgresql]", ["database"])
    assert not is_wide("tests/security/test_headers.py::test_a_page_of_postgresql_has_them")
