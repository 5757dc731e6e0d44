"""Settings: the environment over the file over the defaults, and a clear word about what is wrong."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from contatto.ads.model import WINDOW_DAYS
from contatto.kit.settings import LEAST_HOT_DAYS, SETTINGS_FILE, Settings
from contatto.measurement.rules import LONGEST_WINDOW


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CONTATTO_{name.upper()}", raising=False)
    return tmp_path


def test_with_nothing_said_the_defaults_hold(folder: Path) -> None:
    settings = Settings()
    assert settings.port == 8000
    assert settings.url == "sqlite:///.contatto/contatto.sqlite3"
    assert not settings.secure_cookies


def test_the_file_wins_over_the_defaults_and_the_environment_over_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / SETTINGS_FILE).write_text('port = 9001\nhost = "0.0.0.0"\n')
    assert Settings().port == 9001
    monkeypatch.setenv("CONTATTO_PORT", "9002")
    assert Settings().port == 9002
    assert Settings().host == "0.0.0.0"  # noqa: S104
    assert Settings(port=9003).port == 9003


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "many"),
        ("SESSION_DAYS", "0"),
        ("WEBHOOK_TOLERANCE_S", "1"),
        ("WORKER", "sometimes"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_setting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"CONTATTO_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [problem["loc"] for problem in refused.value.errors()] == [(name.lower(),)]


def test_views_are_kept_for_longer_than_any_window() -> None:
    longest = max(days for days in WINDOW_DAYS.values() if days)
    assert timedelta(days=longest) == LONGEST_WINDOW
    assert longest + 2 == LEAST_HOT_DAYS == Settings(hot_log_days=30).hot_log_days
    assert Settings(hot_log_days=0).hot_log_days == 0
    with pytest.raises(ValidationError, match="a window may have 28 days"):
        Settings(hot_log_days=29)


def test_a_word_in_the_file_that_is_no_setting_is_refused(folder: Path) -> None:
    (folder / SETTINGS_FILE).write_text("prot = 9001\n")
    with pytest.raises(ValidationError, match="prot"):
        Settings()


def test_keys_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTATTO_SECRET_KEYS", " new:aaa , old:bbb, ")
    assert Settings().secret_keys == ("new:aaa", "old:bbb")


def test_the_public_address_loses_its_slash_and_makes_cookies_secure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONTATTO_BASE_URL", "https://leads.example.com/")
    assert Settings().base_url == "https://leads.example.com"
    assert Settings().secure_cookies


def test_a_database_url_is_used_as_it_is() -> None:
    assert Settings(database_url="postgresql://a/b").url == "postgresql://a/b"


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


@pytest.mark.parametrize(
    ("named", "links"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"port": 8102}, "http://127.0.0.1:8102"),
        ({"host": "::", "port": 8102}, "http://[::1]:8102"),
        ({"host": "192.0.2.7"}, "http://192.0.2.7:8000"),
        ({"port": 8102, "base_url": "https://leads.example.com"}, "https://leads.example.com"),
    ],
)
def test_links_follow_the_port_unless_they_have_an_address_of_their_own(
    named: dict[str, Any], links: str
) -> None:
    assert Settings(**named).base_url == links
