"""The page on marketplaces is followed as it stands, from an empty folder to the first charged view."""

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

import pytest
from typer.testing import CliRunner

from contatto.cli.main import app
from tests.cli.test_serve import PROGRAM, free_port

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-a-marketplace.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SENDER = """#!{python} -S
import json, os, socket, sys
if sys.argv[1] == "serve":
    os.execv("{program}", ["{program}", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as there:
    there.connect("{address}")
    there.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = json.loads(there.makefile().readline())
sys.stdout.write(answer["said"])
sys.exit(answer["code"])
"""
"""The program of the page: its commands are carried out by this process, which has all of it loaded."""


class _Command(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        done = CliRunner().invoke(app, json.loads(self.rfile.readline()))
        answer = {"said": done.output, "code": done.exit_code}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


@contextmanager
def program(folder: Path) -> Iterator[Path]:
    """A folder with the command ``contatto`` in it."""
    address, command = folder / "socket", folder / "contatto"
    command.write_text(SENDER.format(python=sys.executable, program=PROGRAM, address=address))
    command.chmod(0o755)
    with socketserver.UnixStreamServer(str(address), _Command) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder
        server.shutdown()


def follow(folder: Path, programs: Path) -> str:
    """Do what the page says, in one shell; what the last command printed comes back."""
    blocks = BLOCK.findall(PAGE.read_text().replace("PORT=8000", f"PORT={free_port()}"))
    blocks[-1] = blocks[-1].replace("contatto operator statement", "echo END; contatto operator statement")
    script = "\n".join(["set -eo pipefail", "trap 'kill $(jobs -p); wait' EXIT", *blocks])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    path = f"{programs}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=kept | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.partition("END\n")[2]


def test_the_page_leads_from_an_empty_folder_to_the_first_charged_view(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTATTO_DATA_DIR", str(tmp_path / ".contatto"))
    with program(tmp_path_factory.mktemp("bin")) as programs:
        said = follow(tmp_path, programs)
    rows = [line.split(",") for line in said.splitlines() if "," in line]
    assert [row[9] for row in rows if row[6] == "transfer"] == ["100.000000"] * 2
    charged = [row for row in rows if row[4] == "Front page"]
    assert len(charged) == 1, (tmp_path / "ad.json").read_text()
    assert (charged[0][0] in ("Kopi", "Teh"), charged[0][7:9]) == (True, ["1", "0"])
    assert -0.01 < float(charged[0][9]) <= -0.002
    assert float(charged[0][10]) == pytest.approx(100 + float(charged[0][9]))
