"""Work of a page for SQLite: its statements, and the steps of the machine that runs them."""

from typing import Any

from sqlalchemy import Engine, event
from starlette.testclient import TestClient

_EACH = 100


class Steps:
    """Counts while a page is made, and costs nothing else. A step is an instruction of SQLite's bytecode."""

    def __init__(self, engine: Engine) -> None:
        self._counts, self._statements, self._hundreds = False, 0, 0
        self._has_steps = engine.dialect.name == "sqlite"
        event.listen(engine, "before_cursor_execute", self._before)

    def of(self, client: TestClient, path: str) -> tuple[int, float]:
        """Return the number of statements of a page, and of thousands of steps (none on PostgreSQL)."""
        self._counts, self._statements, self._hundreds = True, 0, 0
        client.get(path)
        self._counts = False
        client.get(path)  # takes the counter from the connections
        return self._statements, self._hundreds * _EACH / 1000

    def _before(self, connection: Any, *_: object) -> None:
        self._statements += self._counts
        if self._has_steps:
            driver = connection.connection.driver_connection
            driver.set_progress_handler(self._count if self._counts else None, _EACH)

    def _count(self) -> int:
        self._hundreds += 1
        return 0
