"""What CRM sync asks of the capabilities beside and above it: handed in when an installation is built."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contatto.crm.model.connector import Connector
from contatto.kit.db.tx import Tx


@dataclass(frozen=True, slots=True)
class Intake:
    """What came in from platforms and chats, by what became of it; it adds up at any moment.

    ``received`` is the sum of the others; ``stored`` became a message, ``merged`` was a copy of one.
    """

    waiting: int
    stored: int
    merged: int
    refused: int

    @property
    def received(self) -> int:
        return self.waiting + self.stored + self.merged + self.refused


@dataclass(frozen=True, slots=True)
class ToldPlatform:
    """An ad account elsewhere that is told of leads: ``signals`` is the sum of those after it."""

    name: str
    href: str
    signals: int
    due: int
    sent: int
    withheld: int
    dead: int
    adds_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmPorts:
    """All of them are required.

    Attributes:
        answers: what a lead answered to forms, by the labels of the questions; the latest answer of each.
        intake: the ledger of what came in.
        told: how the signals to ad platforms stand, for the same ledger.
        connectors: those of the registry; tests hand in others.
    """

    answers: Callable[[Tx, str, str], Mapping[str, str]]
    intake: Callable[[Tx, str], Intake]
    told: Callable[[Tx, str], Sequence[ToldPlatform]]
    connectors: Mapping[str, Connector]
