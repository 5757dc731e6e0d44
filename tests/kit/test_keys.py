"""The secret keys: read strictly, made at the first start, added to and retired in their file."""

import base64
import os
import stat
from pathlib import Path

import pytest

from contatto.kit.vault import KEY_FILE, SecretKey, add_key, load_keys, mark_retired, parse_keys

OLD, NEW = bytes(32), bytes(range(32))


def line(key_id: str, key: bytes = OLD) -> str:
    return f"{key_id}:{base64.b64encode(key).decode()}"


def test_keys_are_read_in_their_order() -> None:
    keys = (SecretKey("new", NEW), SecretKey("old", OLD), SecretKey("older", NEW, is_retired=True))
    lines = (line("new", NEW), line("old"), f"{line('older', NEW)}:retired")
    assert parse_keys(lines) == keys
    assert tuple(key.line() for key in keys) == lines


@pytest.mark.parametrize(
    "lines",
    [
        ("no colon",),
        (":" + base64.b64encode(OLD).decode(),),
        ("k:not base64!",),
        ("k:" + base64.b64encode(b"short").decode(),),
        (line("k" * 33),),
        (line("ключ"),),
        (line("same", NEW), line("same")),
        (line("same", NEW), f"{line('same')}:retired"),
        (f"{line('k')}:",),
        (f"{line('k')}:Retired",),
        (f"{line('k')}:retired:",),
        ("k:retired",),
    ],
    ids=[
        "no colon",
        "no id",
        "no base64",
        "too short",
        "long id",
        "id not ASCII",
        "id twice",
        "id of a retired one",
        "no state",
        "other state",
        "a fourth field",
        "no key",
    ],
)
def test_a_malformed_key_is_a_value_error(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message of base64 is not ours
        parse_keys(lines)


def test_the_first_start_makes_a_key_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    made = load_keys((), tmp_path / "data")
    path = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys((), tmp_path / "data") == made
    assert [len(key.raw) for key in made] == [32]


def test_configured_keys_win_and_no_file_is_made(tmp_path: Path) -> None:
    assert load_keys((line("k"),), tmp_path) == (SecretKey("k", OLD),)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_the_key_file_keeps_the_older_keys_behind_the_new_one(tmp_path: Path) -> None:
    (first,) = load_keys((), tmp_path)
    add_key(tmp_path)
    keys = load_keys((), tmp_path)
    assert len(keys) == 2
    assert keys[1] == first
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_retired_stays_retired_in_its_place(tmp_path: Path) -> None:
    (first,) = load_keys((), tmp_path)
    add_key(tmp_path)
    mark_retired(tmp_path, first.id)
    add_key(tmp_path)
    assert [key.is_retired for key in load_keys((), tmp_path)] == [False, False, True]
    assert load_keys((), tmp_path)[-1].raw == first.raw
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_no_text_of_a_key_shows_its_bytes() -> None:
    assert str(SecretKey("k", NEW)) == repr(SecretKey("k", NEW)) == "SecretKey(id='k', is_retired=False)"
