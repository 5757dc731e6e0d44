"""Every connector of signals passes the failure kit, which finds one that is wrong."""

import pytest
from typer.testing import CliRunner

from contatto.ad_platforms.model import AdPlatform
from contatto.cli.main import app
from contatto.kit.outbound.model import Done, HttpAnswer, HttpRequest
from contatto.signals.connectors import CONNECTORS, MetaSignals
from contatto.signals.model import SignalEvent, SignalOutcome, SignalTarget
from contatto.simulator.ad_platforms import FAULTS, verify_signals


@pytest.mark.parametrize("platform", sorted(AdPlatform))
def test_each_step_counts_once_whatever_a_platform_does(platform: AdPlatform) -> None:
    results = list(verify_signals(platform.value, CONNECTORS[platform]))
    assert [(each.fault, each.detail) for each in results if not each.is_right] == []
    assert len(results) == len(FAULTS) >= 20


class Careless(MetaSignals):
    """Gives an event another id each time, takes every answer for success, and hashes nothing."""

    def ask(self, feed: SignalTarget, event: SignalEvent) -> HttpRequest:
        made = super().ask(feed, event)
        again = event.event_id.encode() + str(id(made)).encode()
        body = made.body.replace(event.event_id.encode(), again).replace(b"partner_agent", b"ada@example.com")
        return HttpRequest(made.method, made.url, made.headers, body)

    def read(self, answer: HttpAnswer) -> SignalOutcome:
        return Done()


def test_the_kit_finds_a_connector_that_is_careless() -> None:
    wrong = [each.fault for each in verify_signals("meta", Careless()) if not each.is_right]
    assert {"taken, and the answer lost", "server error", "expired token", "told already"} <= set(wrong)


def test_the_command_plays_platforms_as_well() -> None:
    done = CliRunner().invoke(app, ["crm", "verify", "--connector", "tiktok", "--connector", "meta"])
    assert done.exit_code == 0, done.output
    assert f"{2 * len(FAULTS)} faults played with 2 connectors, 0 failed" in done.output
