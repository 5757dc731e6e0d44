"""The folder of a marketplace: what is damaged or half-written in it is found, and the rest goes on."""

from pathlib import Path

import msgspec
import pytest

from contatto.learning.journal import InUse, MarketplaceJournal
from contatto.learning.marketplace import Marketplace
from contatto.learning.model import AnyLine
from contatto.learning.storage import Damaged
from tests.delivery.small_world import Line, play
from tests.delivery.test_marketplace import teller

decode = msgspec.json.Decoder(AnyLine.__value__).decode
SETTINGS = {"table_bits": 12.0}


@pytest.fixture(scope="module")
def told() -> list[Line]:
    """What was told to a marketplace that nobody disturbed."""
    return play(teller(new()), requests=150)


def new() -> Marketplace:
    return Marketplace(4, settings=SETTINGS)


def tell(marketplace: Marketplace, journal: MarketplaceJournal, lines: list[Line]) -> None:
    for line in lines:
        raw = msgspec.json.encode(line)
        marketplace.take(decode(raw))
        journal.note(raw)
        journal.flush()


def keep(folder: Path, lines: list[Line]) -> None:
    marketplace = new()
    journal = MarketplaceJournal(folder, marketplace, print, every=60)
    tell(marketplace, journal, lines)
    journal.close()


def go_on(folder: Path, lines: list[Line], says: list[str]) -> bytes:
    """Open the folder again, go on with what it does not have, and give back all that is known then."""
    marketplace = new()
    journal = MarketplaceJournal(folder, marketplace, says.append, every=60)
    tell(marketplace, journal, lines[journal.count :])
    journal.close()
    return marketplace.save()


def undisturbed(lines: list[Line]) -> bytes:
    marketplace = new()
    for line in lines:
        marketplace.take(decode(msgspec.json.encode(line)))
    return marketplace.save()


def states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.bin"))


@pytest.mark.parametrize("damage", ["a bit", "half of it", "all of it"])
def test_a_damaged_state_is_told_and_the_one_before_it_is_gone_on_with(
    told: list[Line], tmp_path: Path, damage: str
) -> None:
    keep(tmp_path, told[:200])
    newest = states(tmp_path)[-1]
    raw = newest.read_bytes()
    cut = {"a bit": raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:], "half of it": raw[: len(raw) // 2]}
    newest.write_bytes(cut.get(damage, b""))
    says: list[str] = []
    assert go_on(tmp_path, told, says) == undisturbed(told)
    assert [newest.name in line for line in says] == [True]


def test_a_state_and_a_line_that_a_kill_left_half_written_are_left_out(
    told: list[Line], tmp_path: Path
) -> None:
    keep(tmp_path, told[:200])
    (tmp_path / "state.part").write_bytes(states(tmp_path)[-1].read_bytes()[:1_000])
    journal = sorted(tmp_path.glob("lines-*.log"))[-1]
    journal.write_bytes(journal.read_bytes()[:-5])
    says: list[str] = []
    assert go_on(tmp_path, told, says) == undisturbed(told)
    assert ["not whole" in line for line in says] == [True]


def test_a_folder_with_nothing_that_can_be_used_is_not_begun_anew(told: list[Line], tmp_path: Path) -> None:
    keep(tmp_path, told[:200])
    for path in states(tmp_path):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Damaged):
        MarketplaceJournal(tmp_path, new(), print)


def test_one_process_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    journal = MarketplaceJournal(tmp_path, new(), print)
    with pytest.raises(InUse):
        MarketplaceJournal(tmp_path, new(), print)
    journal.close()
