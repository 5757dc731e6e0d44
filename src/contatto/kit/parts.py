"""Parts of an installation, found by their type: capabilities say what they need, `wiring` what there is."""

from collections.abc import Iterator
from typing import Any, Final, Protocol, runtime_checkable


@runtime_checkable
class Closable(Protocol):
    """A part that holds a thread, a process or a file open."""

    def close(self) -> None: ...


class MissingPart(LookupError):
    """Something needs a part that the installation was built without."""


class Parts:
    """Values of different types, one of each.

    Args:
        parts: the values; each is found by its own class.
    """

    def __init__(self, *parts: object) -> None:
        self._by_type: Final[dict[type, Any]] = {type(part): part for part in parts}
        if len(self._by_type) != len(parts):
            raise ValueError("two parts of an installation have the same type")

    def __iter__(self) -> Iterator[object]:
        return iter(self._by_type.values())

    def __getitem__[T](self, kind: type[T]) -> T:
        """The part of this type.

        Raises:
            MissingPart: the installation has none.
        """
        part: T | None = self._by_type.get(kind)
        if part is None:
            raise MissingPart(f"this installation was built without {kind.__module__}.{kind.__qualname__}")
        return part

    def close(self) -> None:
        """Close the parts that hold something open, the last one first."""
        for part in reversed(list(self)):
            if isinstance(part, Closable):
                part.close()


NO_PARTS: Final = Parts()
"""What an installation has of which nothing was handed in: asking for any part is an error."""
