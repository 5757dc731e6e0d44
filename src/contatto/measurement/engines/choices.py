"""The engines by name; each leaves the results of the definition in the staged database."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from contatto.measurement.engines import duck
from contatto.measurement.engines.staging import Staged
from contatto.measurement.model import Policy


class EngineName(StrEnum):
    DUCKDB = "duckdb"


type Fill = Callable[[Staged, Policy, str], None]
"""Takes the staged events, the policy, and where the engine is to be found."""

ENGINES: Final[dict[EngineName, Fill]] = {EngineName.DUCKDB: duck.fill_results}
