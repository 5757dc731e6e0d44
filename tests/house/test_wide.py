"""The table of wide tests names tests that exist, and what must be in the default run is there."""

from pathlib import Path

from tests.wide import ON_POSTGRESQL_TOO, WHOLE_HOUSES, WIDE, is_wide

TESTS = Path(__file__).parents[1]


def test_every_wide_test_exists() -> None:
    for named in WIDE:
        file, _, test = named.partition("::")
        assert f"def {test.partition('[')[0]}" in (TESTS / file).read_text(), named


def test_every_file_and_folder_of_the_rule_exists() -> None:
    assert all((TESTS / each).exists() for each in (*WHOLE_HOUSES, *ON_POSTGRESQL_TOO))


def test_stores_and_rows_of_tenants_are_tested_on_postgresql_in_the_default_run() -> None:
    for kept, fixture in (
        ("tests/kit/test_row_security.py::test_x[postgresql]", "database"),
        ("tests/leads/test_actions.py::test_x[postgresql]", "database"),
        ("tests/people/test_members.py::test_x[postgresql]", "database_url"),
    ):
        assert not is_wide(kept, [fixture])


def test_a_page_is_tested_once_more_on_postgresql_in_the_wide_run() -> None:
    assert is_wide("tests/jobs/test_pages.py::test_x[postgresql]")
    assert not is_wide("tests/jobs/test_pages.py::test_x[sqlite]")
    assert is_wide("tests/reports/test_sources.py::test_x[postgresql]", ["database_url"])
    assert not is_wide("tests/reports/test_sources.py::test_x[postgresql]", ["database"])
    assert not is_wide("tests/security/test_headers.py::test_a_page_of_postgresql_has_them")
