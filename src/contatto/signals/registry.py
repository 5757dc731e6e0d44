"""Which connector tells which ad platform."""

from collections.abc import Mapping
from typing import Final

from contatto.ad_platforms.model import AdPlatform
from contatto.signals.connectors.meta import MetaSignals
from contatto.signals.connectors.tiktok import TikTokSignals
from contatto.signals.model.events import SignalConnector

CONNECTORS: Final[Mapping[AdPlatform, SignalConnector]] = {
    AdPlatform.TIKTOK: TikTokSignals(),
    AdPlatform.META: MetaSignals(),
}
