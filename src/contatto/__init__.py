"""Contatto: an open, self-hosted platform for direct-message lead ads."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contatto.capture.rules import detect_contacts, detect_contacts_batch
    from contatto.measurement.engines.events import attribute, report

__all__ = ["__version__", "attribute", "detect_contacts", "detect_contacts_batch", "report"]
__version__ = "0.1.0"

#: Public functions and where they live; loaded on first use, so that importing the package stays quick.
_PUBLIC = {
    "attribute": "contatto.measurement.engines.events",
    "detect_contacts": "contatto.capture.rules",
    "detect_contacts_batch": "contatto.capture.rules",
    "report": "contatto.measurement.engines.events",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
