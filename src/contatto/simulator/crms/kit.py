"""The failure kit: what real CRMs do to an integration, done to one connector, fault by fault.

Each fault begins with an empty CRM in memory. In the end every lead has to be there exactly once, with its
latest values, whatever was lost, refused or repeated on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from contatto.crm.model import CrmConnector, CrmLink
from contatto.simulator.crms.bench import Bench, NotApplicable, Wrong
from contatto.simulator.crms.cases import Case
from contatto.simulator.crms.faults import FAULTS, Play
from contatto.simulator.crms.server import CrmServer
from contatto.simulator.crms.speaking import NoReply, Speaker


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one fault: passed, failed with what was wrong, or why it cannot happen there."""

    connector: str
    fault: str
    is_right: bool | None
    detail: str


def verify_connector(connector: CrmConnector, case: Case) -> Iterator[Result]:
    """Play every fault with a connector, each in a CRM of its own."""
    for fault, play in FAULTS.items():
        with CrmServer(case.vendor()).running() as server:
            link = CrmLink(server.address, case.settings, case.secrets, datetime.now(UTC))
            speaker = Speaker(connector, link, server.patience_s)
            try:
                yield _played(case, fault, play, Bench(case, server, speaker))
            finally:
                speaker.close()


def _played(case: Case, fault: str, play: Play, bench: Bench) -> Result:
    try:
        play(bench)
    except NotApplicable as why:
        return Result(case.connector, fault, None, str(why))
    except Wrong as wrong:
        return Result(case.connector, fault, is_right=False, detail=str(wrong))
    except NoReply:
        return Result(case.connector, fault, is_right=False, detail="no answer came")
    return Result(case.connector, fault, is_right=True, detail="")
