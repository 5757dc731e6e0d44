"""Emits the SQL of each engine from the definitions: `python -m tools.statements`."""

import sys
from pathlib import Path

import ibis

from contatto.delivery.engines import definition as of_examples
from contatto.measurement.engines import definition as of_winners

FOLDER = Path(__file__).resolve().parent.parent / "src" / "contatto"
DEFINITIONS = {"delivery": of_examples, "measurement/engines": of_winners}


class Spark(ibis.config.Config):  # type: ignore[misc]  # Ibis has no types
    """Options that Ibis needs for Spark where PySpark is not installed."""

    treat_nan_as_null: bool = False


def emitted() -> dict[str, str]:
    """Return the text of every file of statements, by its path below the package."""
    ibis.options.pyspark = Spark()
    return {
        f"{folder}/sql/{dialect}/{name}.sql": f"{ibis.to_sql(expression, dialect=dialect)}\n"
        for folder, definition in DEFINITIONS.items()
        for dialect in definition.DIALECTS
        for name, expression in definition.statements().items()
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
