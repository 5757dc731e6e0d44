"""The page on marketplaces is followed as it stands, from an empty folder to the first charged view."""

import os
import re
import subprocess
from pathlib import Path

from tests.cli.test_serve import PROGRAM, free_port

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-a-marketplace.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def follow(folder: Path) -> str:
    """Do what the page says, in one shell; what the last command printed comes back."""
    blocks = BLOCK.findall(PAGE.read_text().replace("PORT=8000", f"PORT={free_port()}"))
    blocks[-1] = blocks[-1].replace("contatto operator statement", "echo END; contatto operator statement")
    script = "\n".join(["set -eo pipefail", "trap 'kill $(jobs -p); wait' EXIT", *blocks])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    path = f"{Path(PROGRAM).parent}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=kept | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.partition("END\n")[2]


def test_the_page_leads_from_an_empty_folder_to_the_first_charged_view(tmp_path: Path) -> None:
    rows = [line.split(",") for line in follow(tmp_path).splitlines() if "," in line]
    charged = [row for row in rows if row[4] == "Front page"]
    assert len(charged) == 1
    assert (charged[0][0] in ("Kopi", "Teh"), charged[0][7:9]) == (True, ["1", "0"])
    assert float(charged[0][9]) == -0.002
    assert float(charged[0][10]) == 99.998
    assert [row[9] for row in rows if row[6] == "transfer"] == ["100.000000"] * 2
