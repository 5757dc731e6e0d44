"""The command `contatto deliver`: ad decisions and learning over lines of JSON."""

import gc
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TextIO

import msgspec
import typer

from contatto.kit.runtime import freeze_loaded_objects
from contatto.learning.batch_learning import FEW as CLICKS_TO_RELEARN
from contatto.learning.features import FIRST_FIT
from contatto.learning.journal import InUse, MarketplaceJournal
from contatto.learning.market import SETTINGS
from contatto.learning.marketplace import Marketplace, UnusableLine
from contatto.learning.model import (
    AdGroupLine,
    AdLine,
    AnyLine,
    ClickLine,
    ConversationLine,
    LeadLine,
    LineLeadSource,
    RequestLine,
    SpamLine,
    ViewLine,
)
from contatto.learning.outcomes import finish_work
from contatto.learning.storage import Damaged, Different

LONGEST_LINE: Final = 16 * 1024 * 1024
_MOST_PRINTED_FAULTS: Final = 1_000


class ChoicePolicy(StrEnum):
    LEARNED = "learned"
    RANDOM = "random"


def deliver_command(
    seed: Annotated[int, typer.Option(help="What chance is drawn from.", min=0, max=2**63 - 1)] = 0,
    policy: Annotated[
        ChoicePolicy, typer.Option(help="Choose what was learned to be best, or any ad that may serve.")
    ] = ChoicePolicy.LEARNED,
    state: Annotated[Path | None, typer.Option(help="A folder to keep what was learned in.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="A number of the learner or the auction, as NAME=VALUE.")
    ] = None,
) -> None:
    """Decide which ad is shown, and learn from what became of it.

    Reads and writes JSON Lines: rows of type adgroup, ad, request, view, click, conversation, spam, lead,
    quality, rank and report come in; each request, rank and report is answered before the next line is read.
    Lines that cannot be used are reported and skipped; then the exit code is 1.
    """
    faults = LineFaults(sys.stderr)
    marketplace = Marketplace(
        seed,
        is_random=policy is ChoicePolicy.RANDOM,
        settings=read_settings(setting or []),
        complain=faults.add,
    )
    load_kernels()
    gc.disable()  # nothing here makes cycles, and a search for them would hold up a decision
    try:
        journal = None if state is None else MarketplaceJournal(state, marketplace, faults.say)
    except (InUse, Damaged, Different, OSError) as error:
        faults.say(f"{state}: {error}")
        raise typer.Exit(2) from error
    answer_lines(marketplace, journal, sys.stdin.buffer, sys.stdout.buffer, faults)
    if journal is not None:
        journal.close()
    if faults.count:
        faults.say(f"{faults.count} {'fault' if faults.count == 1 else 'faults'}")
        raise typer.Exit(1)


def load_kernels() -> None:
    """Play a few lines in a scratch marketplace, so that no decision waits for a numba kernel to load."""
    scratch = Marketplace(0)
    scratch.take(AdGroupLine(ts=1, adgroup_id="g", advertiser_id="a"))
    scratch.take(AdLine(ts=1, ad_id="x", adgroup_id="g", features={"format": "image"}))
    for number in range(FIRST_FIT + 1):
        ts, viewer, request = 2 + number * 1_000_000, f"v{number}", f"r{number}"
        # Interests of four kinds make classes, so that their kernels are loaded too.
        interests = [f"{number % 4} {number // every % 5}" for every in (4, 20, 100)]
        features = {"language": f"l{number % 3}", "interests": interests}
        scratch.take(RequestLine(ts, request, viewer, "SG", features, 1))
        if scratch.market.records.shown[request] is None or number > CLICKS_TO_RELEARN:
            continue
        scratch.take(ViewLine(ts, request))
        scratch.take(ClickLine(ts, request))
        scratch.take(ConversationLine(ts, viewer, "a"))
        scratch.take(SpamLine(ts, viewer, "a"))
        scratch.take(LeadLine(ts, viewer, "a", LineLeadSource.CHAT))
    scratch.take(RequestLine(ts + 7 * 3_600_000_000, "last", "v", "SG", {"language": "en"}, 1))
    finish_work(scratch.market)
    scratch.take(RequestLine(ts + 7 * 3_600_000_000, "classes", "v", "SG", features, 1))
    freeze_loaded_objects()


@dataclass(slots=True)
class LineFaults:
    """Counter of unusable lines, which prints the first ones with their numbers."""

    out: TextIO
    line: int = 0
    count: int = 0

    def add(self, fault: str) -> None:
        self.count += 1
        if self.count <= _MOST_PRINTED_FAULTS:
            print(f"line {self.line}: {fault}", file=self.out, flush=True)

    def say(self, text: str) -> None:
        """Print a message that is not about a line."""
        print(text, file=self.out, flush=True)


def read_settings(texts: list[str]) -> dict[str, float]:
    """Read settings from NAME=VALUE. Raises typer.BadParameter: an unknown name, or out of its bounds."""
    settings: dict[str, float] = {}
    for text in texts:
        name, _, value_text = text.partition("=")
        if name not in SETTINGS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(SETTINGS)}", param_hint="--setting")
        bounds = SETTINGS[name]
        try:
            value = float(value_text)
        except ValueError:
            value = float("nan")
        if not bounds.least <= value <= bounds.most:
            raise typer.BadParameter(
                f"{name} is a number from {bounds.least:g} to {bounds.most:g}", param_hint="--setting"
            )
        settings[name] = value
    return settings


def answer_lines(
    marketplace: Marketplace,
    journal: MarketplaceJournal | None,
    lines: BinaryIO,
    out: BinaryIO,
    faults: LineFaults,
) -> None:
    """Process line after line, and write each answer before reading the next line."""
    decode = msgspec.json.Decoder(AnyLine.__value__).decode
    encode = msgspec.json.Encoder().encode
    take, write, flush = marketplace.take, out.write, out.flush
    while line := lines.readline(LONGEST_LINE):
        faults.line += 1
        answer = None
        try:
            line_object = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if line.strip():
                faults.add(str(error))
            continue
        try:
            answer = take(line_object)
        except UnusableLine as error:
            faults.add(str(error))
        if journal is not None:
            journal.note(line)
            if answer is not None:
                journal.flush()
        if answer is not None:
            write(encode(answer) + b"\n")
            flush()
