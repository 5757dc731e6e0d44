"""Lists as one parameter of PostgreSQL, in the words of its arrays.

The driver looks at each text by a regular expression for what needs quotes, a quarter of all that
settling a delivery took. Here every text has them.
Source: https://www.postgresql.org/docs/current/arrays.html, section 8.15.6
"""

from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, Final


def array_of(values: Sequence[Any]) -> str | Sequence[Any]:
    """The values as the text of an array, to be cast; where one is of another type, the list itself."""
    try:
        return f"{{{','.join([_WORDS[type(value)](value) for value in values])}}}"
    except KeyError:
        return values


def _text(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


_WORDS: Final[Mapping[type, Callable[[Any], str]]] = {
    str: _text,
    int: str,
    float: repr,
    bool: lambda value: "t" if value else "f",
    bytes: lambda value: f'"\\\\x{value.hex()}"',
    NoneType: lambda _: "NULL",
}
