"""A demo world for the length of a `with` block, on a free port and in a folder that goes afterwards."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY_WITHIN_S = 600


@contextmanager
def running_demo(*arguments: str) -> Iterator[dict[str, Any]]:
    """Start `contatto demo` and hand out what it writes into its ready file.

    Raises:
        RuntimeError: the world ended or was not ready in time; with what it printed last.
    """
    program = str(Path(sys.executable).with_name("contatto"))
    with tempfile.TemporaryDirectory(prefix="contatto-demo-") as folder:
        ready, log = Path(folder) / "ready.json", Path(folder) / "log"
        places = ["--port", "0", "--data-dir", str(Path(folder) / "data"), "--ready-file", str(ready)]
        with log.open("w") as output:
            command = [program, "demo", *places, *arguments]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield _read_when_ready(process, ready, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _read_when_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if ready.exists() and ready.read_text():
            world: dict[str, Any] = json.loads(ready.read_text())
            return world
        time.sleep(0.1)
    raise RuntimeError("the demo did not become ready:\n" + log.read_text()[-2000:])
