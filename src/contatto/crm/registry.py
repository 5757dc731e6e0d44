"""Which connectors there are, by the names that are kept in rows."""

from collections.abc import Mapping
from typing import Final

from contatto.crm.connectors.contract import Connector
from contatto.crm.connectors.hubspot import HubSpot
from contatto.crm.connectors.webhook import Webhook

_ALL: Final[tuple[Connector, ...]] = (HubSpot(), Webhook())

CONNECTORS: Final[Mapping[str, Connector]] = {each.traits.name: each for each in _ALL}
