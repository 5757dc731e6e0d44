"""Commands of the how-tos work as they are typed."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from contatto.cli.main import app
from tests.house.tree import ROOT

HOW_TOS = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
END_OF_COMMAND = {"<", ">", "|", "&&", "&"}


def blocks(page: Path, language: str) -> Iterator[str]:
    for found, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if found == language:
            yield text


def commands() -> list[tuple[str, str]]:
    """List every command of Contatto in the how-tos, each with its page."""
    lines = [
        (page.stem, line.strip().removeprefix("$ "))
        for page in sorted(HOW_TOS.glob("*.md"))
        for text in blocks(page, "sh")
        for line in text.replace("\\\n", " ").splitlines()
    ]
    return [(page, line) for page, line in lines if line.startswith("contatto ")]


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_of_a_how_to_can_be_typed(
    page: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTATTO_DATA_DIR", "unused")  # put back at the end, whatever --data-dir sets
    words = shlex.split(re.sub(r"\$\w+", "1", line), comments=True)[1:]
    ends = [place for place, word in enumerate(words) if word in END_OF_COMMAND]
    words = words[: min(ends, default=len(words))]
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "get_command"):
        name = words.pop(0)
        context = command.make_context("contatto", [], parent=context, resilient_parsing=True)
        command = command.get_command(context, name)
        assert command is not None, (page, name)
    if not any(parameter.prompt for parameter in command.params if hasattr(parameter, "prompt")):
        command.make_context("contatto", words, parent=context)


def test_delivery_gives_an_ad_for_the_lines_of_its_how_to() -> None:
    (lines,) = blocks(HOW_TOS / "try-delivery-on-your-own-log.md", "json")
    done = CliRunner().invoke(app, ["deliver", "--seed", "1"], input=lines)
    assert done.exit_code == 0, done.output
    first, second, report = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["request_id"], first["ad_id"]) == ("r0", None)
    assert (second["request_id"], second["ad_id"]) == ("r1", "ad1")
    assert report["adgroups"][0]["leads"] == 1
