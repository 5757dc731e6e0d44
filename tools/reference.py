"""Writes docs/reference from the code, so that it cannot lag behind: `python -m tools.reference`."""

import sys
from pathlib import Path

from tools.reference_events import events_page
from tools.reference_metrics import metrics_page
from tools.reference_settings import errors_page, settings_page

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
PAGES = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
}


def stale_pages(folder: Path = FOLDER) -> list[str]:
    """The pages that say something else than the code."""
    return [name for name, page in PAGES.items() if _read(folder / name) != page()]


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale_pages():
        (FOLDER / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"docs/reference/{name} written")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
