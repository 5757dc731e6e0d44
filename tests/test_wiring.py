"""The composition root: one frozen value makes an installation, and what is missing is an error."""

import dataclasses
from pathlib import Path

import pytest

from contatto.app import open_context
from contatto.kit.db.database import open_database
from contatto.kit.db.tx import Clock, MissingPart, Parts, Tx
from contatto.kit.settings import Settings
from contatto.kit.vault import Vault
from contatto.leads.actions.annotations import erase_leads
from contatto.leads.ports import LeadPorts
from contatto.wiring import PORTS, install


def test_an_installation_cannot_be_changed(tmp_path: Path) -> None:
    installation = install(Settings(data_dir=tmp_path))
    with pytest.raises(dataclasses.FrozenInstanceError):
        installation.ports = Parts()  # type: ignore[misc]


def test_nothing_starts_without_the_ports_that_erasing_needs(tmp_path: Path) -> None:
    without = dataclasses.replace(install(Settings(data_dir=tmp_path)), ports=Parts())
    with pytest.raises(MissingPart, match="LeadPorts"):
        open_context(without)
    assert list(tmp_path.iterdir()) == []


def test_ports_of_leads_are_handed_in_whole() -> None:
    given = {field.name: getattr(PORTS[LeadPorts], field.name) for field in dataclasses.fields(LeadPorts)}
    assert LeadPorts(**given) == PORTS[LeadPorts]
    for name in given:
        with pytest.raises(TypeError, match=name):
            LeadPorts(**{each: port for each, port in given.items() if each != name})


def test_erasing_without_ports_fails_and_erases_nobody(clock: Clock, tmp_path: Path) -> None:
    db = open_database(f"sqlite:///{tmp_path}/erasing.db", clock, Vault({"test": bytes(32)}))

    def erase(tx: Tx) -> object:
        return erase_leads(tx, "business", [], "somebody")

    with pytest.raises(MissingPart, match="LeadPorts"):
        db.write_now(erase)
    db.close()


def test_two_installations_share_nothing_that_counts(tmp_path: Path) -> None:
    one, two = (open_context(install(Settings(data_dir=tmp_path / name))) for name in ("one", "two"))
    resources = [each.installation.resources(each.db, each.settings) for each in (one, two)]
    assert not {id(part) for part in resources[0]} & {id(part) for part in resources[1]}
    for of, context in zip(resources, (one, two), strict=True):
        of.close()
        context.db.close()


def test_a_part_is_found_by_its_type_and_missed_by_its_name() -> None:
    parts = Parts(1, "text")
    assert (parts[int], parts[str]) == (1, "text")
    with pytest.raises(MissingPart, match=r"without builtins\.float"):
        parts[float]
    with pytest.raises(ValueError, match="same type"):
        Parts(1, 2)


def test_parts_that_hold_something_open_are_closed_the_last_one_first() -> None:
    closed: list[str] = []

    class First:
        def close(self) -> None:
            closed.append("first")

    class Second(First):
        def close(self) -> None:
            closed.append("second")

    Parts(First(), 1, Second()).close()
    assert closed == ["second", "first"]
