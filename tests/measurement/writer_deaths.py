"""Deaths of the process that writes a Parquet file, at each step of its work."""

import subprocess
import sys
from typing import Any

import pytest

DEATHS = {
    "before the file is on the disk": "parquet.sync = lambda _: os._exit(9)",
    "before it has its name": "Path.replace = lambda *_: os._exit(9)",
    "after it has its name": "name = Path.replace; Path.replace = lambda *to: (name(*to), os._exit(9))",
}
"""By the step, the code that the process runs before it begins."""


def let_writer_die(patch: pytest.MonkeyPatch, step: str) -> None:
    """Let every writing process that starts from here on die at a step."""
    program = (
        "import os, sys; from pathlib import Path; from contatto.measurement.engines import parquet; "
        f"{DEATHS[step]}; sys.exit(parquet.main())"
    )
    start: Any = subprocess.Popen

    def start_dying(_command: list[str], **options: Any) -> Any:
        return start([sys.executable, "-I", "-c", program], **options)

    patch.setattr(subprocess, "Popen", start_dying)
