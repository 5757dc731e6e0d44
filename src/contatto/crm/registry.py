"""Connectors of all CRMs by their names."""

from collections.abc import Mapping
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

_CLASSES: Final = (BottleCrm, GoogleSheets, HubSpot, Odoo, Pipedrive, Salesforce, Tryton, Webhook, Zoho)
CONNECTORS: Final[Mapping[str, CrmConnector]] = {kind.traits.name: kind() for kind in _CLASSES}
