"""The reference pages say what the code says."""

from pathlib import Path

from contatto.kit import errors
from contatto.kit.settings import Settings
from contatto.reports.model import METRICS
from tests.house.tree import ROOT, files, plant, short
from tools import reference
from tools.reference_events import directly_emitted_events, emitted_events, heard_events


def test_no_reference_page_is_stale() -> None:
    assert reference.stale_pages() == [], "run `make docs`"


def test_every_setting_error_event_and_metric_has_its_line() -> None:
    everything = "\n".join(page() for page in reference.PAGES.values())
    lines = {
        f"| `{name}` |" for name in (*Settings.model_fields, *(each.name for each in errors.ALL), *METRICS)
    }
    lines |= {f"## {kind.__name__}\n" for kind in heard_events()}
    assert {line for line in lines if line not in everything} == set()


def test_every_event_is_both_emitted_and_in_the_table_of_who_hears_it() -> None:
    heard = {kind.__name__ for kind in heard_events()}
    assert heard - emitted_events() == set(), "nobody emits these"
    assert directly_emitted_events() - heard == set(), "wiring.AFTER does not know these"


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
