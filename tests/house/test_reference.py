"""The reference pages say what the code says."""

from pathlib import Path

from tests.house.tree import ROOT, files, plant, short
from tools import reference
from tools.reference_events import emitted_events, heard_events
from tools.reference_metrics import metrics


def test_no_reference_page_is_stale() -> None:
    assert reference.stale_pages() == [], "run `make docs`"


def test_every_setting_error_event_and_metric_has_its_line() -> None:
    everything = "\n".join(page() for page in reference.PAGES.values())
    events = {kind.__name__ for kind in (*emitted_events(), *heard_events())}
    assert {name for name in events if f"## {name}\n" not in everything} == set()
    assert {each.name for each in metrics() if f"| `{each.name}` |" not in everything} == set()


def test_every_event_that_is_heard_is_emitted() -> None:
    assert {kind.__name__ for kind in set(heard_events()) - emitted_events()} == set()


def test_a_stale_page_is_found(tmp_path: Path) -> None:
    for name, page in reference.PAGES.items():
        plant(tmp_path, name, page())
    assert reference.stale_pages(tmp_path) == []
    plant(tmp_path, "reference/errors.md", "# Errors")
    assert reference.stale_pages(tmp_path) == ["reference/errors.md"]


def test_error_codes_are_made_in_one_place() -> None:
    makers = [
        short(ROOT, path)
        for path in files(ROOT, ".py", under=("src",))
        if "ErrorCode(" in path.read_text(encoding="utf-8").replace("class ErrorCode", "")
    ]
    assert makers == ["src/contatto/kit/errors.py"]
