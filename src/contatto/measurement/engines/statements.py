"""The SQL of each engine, as it was emitted from the definition."""

from functools import cache
from importlib.resources import files

from contatto.measurement.model import Policy


@cache
def sql_of(dialect: str, name: str) -> str:
    return files("contatto.measurement.engines").joinpath("sql", dialect, f"{name}.sql").read_text("utf-8")


def winners_sql(dialect: str, policy: Policy) -> str:
    return sql_of(dialect, f"winners_{policy}")
