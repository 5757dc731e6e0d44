"""From a value to its row."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def row_of(value: "DataclassInstance", without: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass by name, as an insert takes them; nested values stay what they are.

    Args:
        value: has a column for each field.
        without: fields that no column holds as they are.
    """
    return {name: getattr(value, name) for name in value.__dataclass_fields__ if name not in without}
