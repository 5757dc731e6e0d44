"""The text format of Prometheus, and who may read it."""

import hmac
from collections.abc import Iterable
from typing import Final

from contatto.vitals.model import Gauge, Sample

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def write_gauges(gauges: Iterable[Gauge]) -> str:
    """Gauges as text.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (text-based format).
    """
    lines = []
    for gauge in gauges:
        name = f"contatto_{gauge.name}"
        lines += [f"# HELP {name} {_escaped(gauge.says)}", f"# TYPE {name} gauge"]
        lines += [f"{name}{_labels(sample)} {sample.value:.15g}" for sample in gauge.samples]
    return "\n".join([*lines, ""])


def _labels(sample: Sample) -> str:
    pairs = [f'{name}="{_escaped(text, quote=True)}"' for name, text in sample.labels]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def may_scrape(token: str, header: str) -> bool:
    """Whether an ``Authorization`` header holds the token; without a token nobody may."""
    scheme, _, given = header.partition(" ")
    is_same = hmac.compare_digest(given.strip().encode(), token.encode())
    return bool(token) and scheme.lower() == "bearer" and is_same
