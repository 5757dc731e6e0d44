"""The failure kit for signals: what ad platforms do, done to one connector, fault by fault."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from contatto.ad_platforms.model import AdPlatform
from contatto.signals.model.events import SignalConnector
from contatto.simulator.crms.bench import Wrong
from contatto.simulator.crms.kit import Result
from contatto.simulator.signals.bench import new_bench
from contatto.simulator.signals.faults import FAULTS
from contatto.simulator.signals.platforms import Meta, Platform, TikTok

PLATFORMS: Final[Mapping[AdPlatform, Callable[[], Platform]]] = {
    AdPlatform.TIKTOK: TikTok,
    AdPlatform.META: Meta,
}


def verify_signals(name: str, connector: SignalConnector) -> Iterator[Result]:
    """Play every fault with a connector, each with a platform of its own."""
    for fault, play in FAULTS.items():
        detail = ""
        try:
            play(new_bench(connector, PLATFORMS[connector.platform]()))
        except Wrong as wrong:
            detail = str(wrong)
        yield Result(name, fault, is_right=not detail, detail=detail)
