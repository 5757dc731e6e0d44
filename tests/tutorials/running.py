"""Runner of the tutorials: commands in one shell, outputs compared, words of screens in order."""

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from contatto.cli.main import app
from tests.cli.test_serve import PROGRAM, free_port
from tests.house.tree import ROOT

TUTORIALS: Final = ROOT / "docs" / "tutorials"
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARK: Final = "=== end of block"
SENDER: Final = """#!{python} -S
import json, os, socket, sys
if sys.argv[1] == "serve":
    os.execv("{program}", ["{program}", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as there:
    there.connect("{address}")
    there.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = json.loads(there.makefile().readline())
sys.stdout.write(answer["output"])
sys.exit(answer["code"])
"""
"""Command ``contatto`` that runs in the process of the test, which has loaded all of it."""


def read_page(name: str) -> str:
    return (TUTORIALS / f"{name}.md").read_text(encoding="utf-8")


class _CommandHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        result = CliRunner().invoke(app, json.loads(self.rfile.readline()))
        answer = {"output": result.output, "code": result.exit_code}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


@contextmanager
def command_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder with the command ``contatto``, to put first into the PATH."""
    address, command = folder / "socket", folder / "contatto"
    command.write_text(SENDER.format(python=sys.executable, program=PROGRAM, address=address))
    command.chmod(0o755)
    with socketserver.UnixStreamServer(str(address), _CommandHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder
        server.shutdown()


def follow(name: str, folder: Path, programs: Path) -> None:
    """Run all commands of a page in one shell, and compare each output that the page shows."""
    blocks = BLOCK.findall(read_page(name).replace("PORT=8000", f"PORT={free_port()}"))
    commands = [text for language, text in blocks if language == "sh"]
    trap = "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"
    script = f"\necho '{MARK}'\n".join([f"set -eo pipefail; {trap}", *commands])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CONTATTO_")}
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), environment["PATH"]])
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment | {"PATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    outputs = iter(result.stdout.split(f"{MARK}\n")[1:])
    output = ""
    for language, text in blocks:
        if language == "sh":
            output = next(outputs)
        elif language == "text":
            assert re.fullmatch(pattern_of(text), output.strip()), output


def pattern_of(text: str) -> str:
    """Return the pattern of a shown output, where ``…`` may be anything within its line."""
    return re.escape(text.strip()).replace("…", ".*")


class WordsInOrder:
    """Bold words of a page, which a test takes one after the other."""

    def __init__(self, name: str) -> None:
        self.words = re.findall(r"\*\*(.+?)\*\*", read_page(name))

    def take(self, word: str) -> str:
        """Return the next word, which must be this one."""
        assert self.words[:1] == [word]
        return self.words.pop(0)
