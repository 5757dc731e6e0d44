"""From a value to its row."""

from collections.abc import Callable, Collection
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def row_of(value: "DataclassInstance", without: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass by name, as an insert takes them; nested values stay what they are.

    Args:
        value: has a column for each field.
        without: fields that no column holds as they are.
    """
    names, read = _plan(type(value), tuple(without))
    return dict(zip(names, read(value), strict=True))


@cache
def _plan(
    kind: "type[DataclassInstance]", without: tuple[str, ...]
) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of what a row takes of a dataclass, and what reads all of them at once."""
    names = tuple(name for name in kind.__dataclass_fields__ if name not in without)
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda value: tuple(getattr(value, name) for name in names)
