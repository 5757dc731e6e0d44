"""Emits the SQL of each engine from the one definition: `python -m tools.statements`."""

import sys
from pathlib import Path

from contatto.measurement.engines.definition import DIALECTS, emit_sql, statements

FOLDER = Path(__file__).resolve().parent.parent / "src" / "contatto" / "measurement" / "engines" / "sql"


def emitted() -> dict[str, str]:
    """The text of every file under the folder of statements."""
    return {
        f"{dialect}/{name}.sql": emit_sql(expression, dialect)
        for dialect in DIALECTS
        for name, expression in statements().items()
    }


def main() -> int:
    for name, text in emitted().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
