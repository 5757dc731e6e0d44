"""What commands that filter files share: where they read, where they write, and a bar that shows how far."""

import io
import sys
from collections.abc import Callable
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import TextIO, cast

import typer
from rich.console import Console
from rich.progress import Progress

STDIN = "-"


def complaints() -> Console:
    """Return where faults are told: standard error, line by line as they are."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def open_source(file: str, stack: ExitStack) -> BufferedReader:
    """The file, or standard input for ``-``."""
    if file == STDIN:
        return cast("BufferedReader", sys.stdin.buffer)
    try:
        return stack.enter_context(Path(file).open("rb"))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from error


def open_out(output: Path | None, stack: ExitStack) -> TextIO:
    """The file to write to, or standard output in UTF-8."""
    if output is not None:
        return stack.enter_context(output.open("w", encoding="utf-8", errors="backslashreplace", newline=""))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return sys.stdout


def watch_bytes(file: str, console: Console, stack: ExitStack) -> Callable[[int], None]:
    """What to tell how many bytes were read; on a terminal a bar moves."""
    if not console.is_terminal:
        return _ignore
    total = None if file == STDIN else Path(file).stat().st_size
    progress = stack.enter_context(Progress(console=console, transient=True))
    task = progress.add_task("Reading", total=total)
    return lambda size: progress.advance(task, size)


def _ignore(_size: int) -> None:
    pass
