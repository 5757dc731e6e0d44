"""Every connector with a CRM in memory passes the failure kit, which finds a connector that is wrong."""

from typing import Any

import pytest
from typer.testing import CliRunner

from contatto.cli.main import app
from contatto.crm.connectors.hubspot import HubSpot
from contatto.crm.model import FindRecord, NoRecord, Operation, Reply, WriteRecord, Written
from contatto.crm.registry import CONNECTORS
from contatto.kit.outbound.model import HttpAnswer, HttpRequest
from contatto.simulator.crms.failure_kit import CASES, FAULTS, verify_connector


@pytest.mark.parametrize("name", sorted(CASES))
def test_nothing_is_lost_and_nothing_doubled_whatever_a_crm_does(name: str) -> None:
    results = list(verify_connector(CONNECTORS[name], CASES[name]))
    assert [(each.fault, each.detail) for each in results if each.is_right is False] == []
    assert len(results) == len(FAULTS) >= 20
    assert sum(each.is_right is True for each in results) >= 13


class Forgetful(HubSpot):
    """Makes a record without looking, and by another id each time."""

    def ask(self, link: Any, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, FindRecord):
            return NoRecord()
        return super().ask(link, operation)

    def read(self, link: Any, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        reply = super().read(link, operation, answer, memory)
        return Written("1001") if isinstance(operation, WriteRecord) and answer.status >= 400 else reply


def test_the_kit_finds_a_connector_that_takes_refusals_for_success() -> None:
    results = verify_connector(Forgetful(), CASES["hubspot"])
    assert any(each.is_right is False for each in results)


def test_the_command_prints_a_table_and_tells_by_its_exit_code() -> None:
    done = CliRunner().invoke(app, ["crm", "verify", "--connector", "webhook"])
    assert done.exit_code == 0, done.output
    assert "made, and the answer lost" in done.output
    assert CliRunner().invoke(app, ["crm", "verify", "--connector", "nobody"]).exit_code == 2
    assert CliRunner().invoke(app, ["crm", "verify"]).exit_code == 2
