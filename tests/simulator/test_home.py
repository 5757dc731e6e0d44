"""The folder of a demo: what is in it, who may use it, and what is removed."""

import stat
from pathlib import Path

import pytest

from contatto.simulator.demo import NOTES, DemoFolder, FolderInUse, write_private
from contatto.simulator.world import DemoWorld

WORLD = DemoWorld("b1", "Harbour", "7", "token", "app", "secret", (), {}, (), "", "")


def test_an_empty_folder_is_empty(tmp_path: Path) -> None:
    home = DemoFolder(tmp_path / "new")
    assert home.load_world() is None
    assert not (home.folder / NOTES).exists()


def test_a_ready_world_is_found_again(tmp_path: Path) -> None:
    write_private(tmp_path / NOTES, WORLD)
    assert DemoFolder(tmp_path).load_world() == WORLD


@pytest.mark.parametrize(
    "content", ["null", "", "{", '{"state": "ready", "world": {"of": "another release"}}']
)
def test_a_world_that_cannot_be_gone_on_with_counts_as_unfinished(tmp_path: Path, content: str) -> None:
    (tmp_path / NOTES).write_text(content)
    assert DemoFolder(tmp_path).load_world() is None


def test_an_installation_that_is_no_demo_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "contatto.sqlite3").write_text("a business's own")
    with pytest.raises(FolderInUse, match="no demo"):
        DemoFolder(tmp_path).load_world()


def test_clearing_removes_what_a_demo_made_and_nothing_else(tmp_path: Path) -> None:
    home = DemoFolder(tmp_path)
    write_private(tmp_path / NOTES, None)
    (tmp_path / "contatto.sqlite3").write_text("half a world")
    (tmp_path / "notes.txt").write_text("mine")
    home.clear()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        DemoFolder(tmp_path).locked(),
        pytest.raises(FolderInUse, match="Another demo"),
        DemoFolder(tmp_path).locked(),
    ):
        pass
    with DemoFolder(tmp_path).locked():
        assert DemoFolder(tmp_path).load_world() is None


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "deep" / "keys.json", {"a": 1})
    assert stat.S_IMODE((tmp_path / "deep" / "keys.json").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["keys.json"]
