"""Registry of CRM connectors, and ports that the installation fills."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contatto.crm.connectors.bottlecrm import BottleCrm
from contatto.crm.connectors.google_sheets import GoogleSheets
from contatto.crm.connectors.hubspot import HubSpot
from contatto.crm.connectors.odoo import Odoo
from contatto.crm.connectors.pipedrive import Pipedrive
from contatto.crm.connectors.salesforce import Salesforce
from contatto.crm.connectors.tryton import Tryton
from contatto.crm.connectors.webhook import Webhook
from contatto.crm.connectors.zoho import Zoho
from contatto.crm.model import CrmConnector
from contatto.integrations.model import LedgerCounts
from contatto.kit.db.tx import Tx

_CLASSES: Final = (BottleCrm, GoogleSheets, HubSpot, Odoo, Pipedrive, Salesforce, Tryton, Webhook, Zoho)
CONNECTORS: Final[Mapping[str, CrmConnector]] = {kind.traits.name: kind() for kind in _CLASSES}


@dataclass(frozen=True, slots=True)
class Intake:
    """Counts of incoming messages: ``merged`` are duplicates, and ``received`` is the sum of all."""

    waiting: int
    stored: int
    merged: int
    refused: int

    @property
    def received(self) -> int:
        return self.waiting + self.stored + self.merged + self.refused


@dataclass(frozen=True, slots=True)
class SignalCounts:
    """Counts of the signals to an ad account, and the page of their log."""

    name: str
    href: str
    counts: LedgerCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmPorts:
    """Ports of CRM sync.

    Attributes:
        answers: the latest answers of a lead to forms, by the labels of the questions.
        intake: counts of incoming messages.
        signals: counts of signals to ad platforms.
        connectors: those of the registry; tests hand in others.
    """

    answers: Callable[[Tx, str, str], Mapping[str, str]]
    intake: Callable[[Tx, str], Intake]
    signals: Callable[[Tx, str], Sequence[SignalCounts]]
    connectors: Mapping[str, CrmConnector]
