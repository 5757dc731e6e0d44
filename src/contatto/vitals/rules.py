"""Gauges in the Prometheus text format, and the token check for scrapers."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sample:
    """Value of a gauge; labels contain only ids and codes, no names and no contact values."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """Metric with its current values.

    Attributes:
        name: name without the prefix ``contatto_``.
        help_text: one line of help.
    """

    name: str
    help_text: str
    samples: tuple[Sample, ...]


CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def write_gauges(gauges: Iterable[Gauge]) -> str:
    """Format gauges as text.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text-based format).
    """
    lines = []
    for gauge in gauges:
        name = f"contatto_{gauge.name}"
        lines += [f"# HELP {name} {_escape(gauge.help_text)}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(sample)} {sample.value:.15g}" for sample in gauge.samples]
    return "\n".join([*lines, ""])


def _labels(sample: Sample) -> str:
    pairs = [f'{name}="{_escape(text, quote=True)}"' for name, text in sample.labels]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def may_scrape(token: str, header: str) -> bool:
    """Check the token of an ``Authorization`` header; without a configured token, refuse everyone."""
    scheme, _, credentials = header.partition(" ")
    is_same = hmac.compare_digest(credentials.strip().encode(), token.encode())
    return bool(token) and scheme.lower() == "bearer" and is_same
