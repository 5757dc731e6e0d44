"""The reference page of the report metrics."""

import importlib
import importlib.util
import pkgutil
from typing import Any

from tools.markdown import page, table


def metrics_page() -> str:
    rows = [(f"`{each.name}`", each.unit, each.says) for each in metrics()]
    says = "What a report can count. A metric is data: its definition is the only one, for every engine."
    return page("Metrics", says, table(["Name", "Unit", "Says"], rows))


def metrics() -> list[Any]:
    """Every metric of contatto.reports.metrics: an object with a name, a unit and what it says."""
    found: dict[str, Any] = {}
    for module in _modules("contatto.reports.metrics"):
        for value in vars(module).values():
            for each in value if isinstance(value, list | tuple) else (value,):
                if all(isinstance(getattr(each, part, None), str) for part in ("name", "unit", "says")):
                    found[each.name] = each
    return list(found.values())


def _modules(name: str) -> list[Any]:
    try:
        if importlib.util.find_spec(name) is None:
            return []
    except ModuleNotFoundError:
        return []
    package = importlib.import_module(name)
    inside = getattr(package, "__path__", [])
    return [
        package,
        *(importlib.import_module(f"{name}.{each.name}") for each in pkgutil.iter_modules(inside)),
    ]
