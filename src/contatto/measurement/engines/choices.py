"""The engines by name; each leaves the results of the definition in the staged database."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from contatto.measurement.engines import clickhouse, duck, postgres, spark
from contatto.measurement.engines.staging import Staged
from contatto.measurement.model import Policy


class EngineName(StrEnum):
    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SPARK = "spark"
    SAIL = "sail"
    CLICKHOUSE = "clickhouse"


type Fill = Callable[[Staged, Policy, str], None]
"""Takes the staged events, the policy, and where the engine is to be found."""

ENGINES: Final[dict[EngineName, Fill]] = {
    EngineName.DUCKDB: duck.fill_results,
    EngineName.POSTGRES: postgres.fill_results,
    EngineName.SPARK: spark.fill_results,
    EngineName.SAIL: spark.fill_with_sail,
    EngineName.CLICKHOUSE: clickhouse.fill_results,
}
