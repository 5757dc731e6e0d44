"""All metrics by name, and the engine that reads the facts."""

from typing import Final, Protocol

from contatto.kit.db.tx import Tx
from contatto.reports.engines.database import DatabaseEngine
from contatto.reports.metrics import conversions, delivery, leads, messages
from contatto.reports.model import Fact, Metric, Reach, ReachBy, Span, TimeStep


class Engine(Protocol):
    """Reads facts; every engine gives the same ones."""

    def list_facts(
        self, tx: Tx, business_id: str, ad_account_id: str, span: Span, step: TimeStep
    ) -> list[Fact]: ...

    def list_reach(self, tx: Tx, business_id: str, ad_account_id: str, span: Span, by: ReachBy) -> Reach: ...


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (*delivery.METRICS, *conversions.METRICS, *messages.METRICS, *leads.METRICS)
}
ENGINE: Final[Engine] = DatabaseEngine()
