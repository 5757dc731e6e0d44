"""The reference page of events: who emits each, and who hears it."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

from contatto.kit.outbox import event_name
from contatto.wiring import AFTER
from tools.markdown import first_sentence, page, table

SOURCE = Path(__file__).resolve().parent.parent / "src" / "contatto"


def events_page() -> str:
    parts = [_section(kind, handlers) for kind, handlers in sorted(heard_events().items(), key=_name)]
    says = (
        "An event is a row that is committed together with the change that it speaks of. Each handler gets "
        "a job of its own, which is tried again until it succeeds. `contatto/wiring.py` says who hears what. "
        "Open pages hear of all of them through the live stream."
    )
    return page("Events", says, *parts)


def heard_events() -> dict[type[Any], tuple[str, ...]]:
    """Every event of the table in contatto/wiring.py with the names of its handlers."""
    return {kind: tuple(handlers) for kind, handlers in AFTER.items()}


def emitted_events() -> set[str]:
    """Return the names of the classes that are made in a module which emits."""
    found: set[str] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
        called = {ast.unparse(node.func).split(".")[-1] for node in calls}
        if called & {"emit", "emit_all"}:
            found |= called
    return found


def directly_emitted_events() -> set[str]:
    """Return the names of the classes that are instantiated right in a call of `emit`."""
    return {
        ast.unparse(node.args[2].func).split(".")[-1]
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] == "emit"
        and len(node.args) == 3
        and isinstance(node.args[2], ast.Call)
    }


def _name(item: tuple[type[Any], Any]) -> str:
    return item[0].__name__


def _section(kind: type[Any], handlers: tuple[str, ...]) -> str:
    capability = kind.__module__.split(".")[1]
    hearers = ", ".join(f"`{handler}`" for handler in handlers) or "open pages only"
    rows = [(f"`{each.name}`", f"`{_type_name(each.type)}`") for each in fields(kind)]
    says = first_sentence(kind.__doc__)
    hands = f"Named `{event_name(kind)}` in its row, told by `{capability}`, heard by {hearers}."
    return "\n\n".join([f"## {kind.__name__}", says, hands, table(["Field", "Type"], rows)])


def _type_name(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
