"""The folder of a demo: what is in it, who may use it, and what is removed."""

import stat
from pathlib import Path

import pytest

from contatto.simulator.demo import NOTES, Home, HomeState, Occupied, write_private
from contatto.simulator.world import World

WORLD = World("b1", "Harbour", "7", "token", "app", "secret", (), {}, (), "", "")


def test_an_empty_folder_is_empty(tmp_path: Path) -> None:
    assert Home(tmp_path / "new").look() == (HomeState.EMPTY, None)


def test_a_ready_world_is_found_again(tmp_path: Path) -> None:
    Home(tmp_path).note(HomeState.READY, WORLD)
    assert Home(tmp_path).look() == (HomeState.READY, WORLD)


@pytest.mark.parametrize("content", ["", "{", '{"state": "ready", "world": {"of": "another release"}}'])
def test_a_world_that_cannot_be_gone_on_with_counts_as_unfinished(tmp_path: Path, content: str) -> None:
    (tmp_path / NOTES).write_text(content)
    assert Home(tmp_path).look() == (HomeState.SEEDING, None)


def test_an_installation_that_is_no_demo_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "contatto.sqlite3").write_text("a business's own")
    with pytest.raises(Occupied, match="no demo"):
        Home(tmp_path).look()


def test_clearing_removes_what_a_demo_made_and_nothing_else(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.note(HomeState.SEEDING, None)
    (tmp_path / "contatto.sqlite3").write_text("half a world")
    (tmp_path / "notes.txt").write_text("mine")
    home.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        Home(tmp_path).locked(),
        pytest.raises(Occupied, match="Another demo"),
        Home(tmp_path).locked(),
    ):
        pass
    with Home(tmp_path).locked():
        assert Home(tmp_path).look() == (HomeState.EMPTY, None)


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "deep" / "keys.json", {"a": 1})
    assert stat.S_IMODE((tmp_path / "deep" / "keys.json").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["keys.json"]
