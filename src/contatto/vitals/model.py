"""A number that monitoring asks for, with what it is of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a gauge; labels hold ids and codes alone, no names and no contact values."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """What is counted, and its values by now.

    Attributes:
        name: without ``contatto_``.
        says: one line of help.
    """

    name: str
    says: str
    samples: tuple[Sample, ...]
