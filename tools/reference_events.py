"""The reference page of events: who emits each, and who hears it."""

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from contatto.kit.outbox import event_name, handler_name
from tools.markdown import first_sentence, page, table

SOURCE = Path(__file__).resolve().parent.parent / "src"


def events_page() -> str:
    heard = heard_events()
    kinds = {kind.__name__: kind for kind in (*emitted_events(), *heard)}
    parts = [_section(kind, heard.get(kind, ())) for _, kind in sorted(kinds.items())]
    says = (
        "An event is a row that is committed together with the change that it speaks of. Each handler gets "
        "a job of its own, which is tried again until it succeeds. `contatto/wiring.py` says who hears what."
    )
    return page("Events", says, *parts)


def emitted_events() -> set[type[Any]]:
    """The classes of which an object is handed to `emit` somewhere in the source."""
    found = set()
    for path in sorted((SOURCE / "contatto").rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for name in _emitted_names(ast.parse(path.read_text(encoding="utf-8"))):
            found.add(_resolve(module, name))
    return found


def heard_events() -> dict[type[Any], tuple[Any, ...]]:
    if importlib.util.find_spec("contatto.wiring") is None:
        return {}
    after: dict[type[Any], tuple[Any, ...]] = dict(importlib.import_module("contatto.wiring").AFTER)
    return after


def _emitted_names(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] == "emit"
            and len(node.args) == 3
        ):
            event = node.args[2]
            if isinstance(event, ast.Call):
                yield ast.unparse(event.func)


def _resolve(module: str, name: str) -> type[Any]:
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    if not inspect.isclass(value):
        raise TypeError(f"{module} emits {name}, which is no class")
    return value


def _section(kind: type[Any], handlers: tuple[Any, ...]) -> str:
    capability = kind.__module__.split(".")[1]
    hearers = ", ".join(f"`{handler_name(each)}`" for each in handlers) or "nobody yet"
    rows = [(f"`{each.name}`", f"`{_type_name(each.type)}`") for each in fields(kind)]
    says = first_sentence(kind.__doc__)
    hands = f"Named `{event_name(kind)}` in its row, told by `{capability}`, heard by {hearers}."
    return "\n\n".join([f"## {kind.__name__}", says, hands, table(["Field", "Type"], rows)])


def _type_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
