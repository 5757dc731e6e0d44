"""Writes docs/reference and the lists of pages, so that they cannot lag: `python -m tools.reference`."""

import sys
from pathlib import Path

from tools.reference_api import api_page
from tools.reference_dependencies import dependencies_page
from tools.reference_events import events_page
from tools.reference_lists import decisions_page, how_to_page, tutorials_page
from tools.reference_metrics import metrics_page
from tools.reference_routes import routes_page
from tools.reference_settings import delivery_settings_page, errors_page, settings_page

FOLDER = Path(__file__).resolve().parent.parent / "docs"
PAGES = {
    "reference/settings.md": settings_page,
    "reference/delivery-settings.md": delivery_settings_page,
    "reference/errors.md": errors_page,
    "reference/events.md": events_page,
    "reference/metrics.md": metrics_page,
    "reference/api.md": api_page,
    "reference/routes.md": routes_page,
    "reference/dependencies.md": dependencies_page,
    "decisions/index.md": decisions_page,
    "how-to/index.md": how_to_page,
    "tutorials/index.md": tutorials_page,
}


def stale_pages(folder: Path = FOLDER) -> list[str]:
    """List the pages that differ from the code."""
    return [name for name, page in PAGES.items() if _read(folder / name) != page()]


def main() -> int:
    for name in stale_pages():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PAGES[name](), encoding="utf-8")
        print(f"docs/{name} written")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
