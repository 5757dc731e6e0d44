"""The reference page of what Contatto brings along: licences, and how well each is kept up."""

from typing import Final

from tools.markdown import page, table
from tools.shipped import Shipped, shipped_packages

NOTES: Final = {
    "colorama": "needed on Windows alone; small and finished",
    "htmx": "one file in our own package, without a build step",
    "mdurl": "small and finished: it splits addresses in Markdown for rich",
    "psycopg": "used unchanged as a package of its own, which users can replace, as its licence asks",
    "rphonenumbers": "young, one maintainer: its version is fixed, and phonenumbers could replace it",
    "itsdangerous": "small and finished: HMAC over a value, with several keys; kept by the makers of Jinja",
    "scipy": "lightgbm needs it; brings OpenBLAS (BSD) and the Fortran of GCC (GPL with its exception)",
    "shellingham": "small and finished: it finds out which shell completes commands for typer",
}
"""Notes beside the columns. A package without a release for two years needs a note here."""
SAYS: Final = """The packages that an installation needs, as `uv.lock` pins them, each with its hashes there,
and the files of others that lie in our own package. *For* says whether we chose it or whether another one
needs it: what we chose has its reason in [decision 0013](../decisions/0013-dependencies.md). *Released* is
the day of the pinned version.

`make audit` looks for known vulnerabilities in them; `make build` writes them as a CycloneDX SBOM beside the
wheel. Tools for development are not shipped and stand in `uv.lock` alone."""


def dependencies_page() -> str:
    columns = ["Package", "Version", "Licence", "Released", "For", "Upkeep"]
    return page("Dependencies", SAYS, table(columns, [_row(each) for each in shipped_packages()]))


def _row(each: Shipped) -> tuple[str, ...]:
    return (
        f"`{each.name}`",
        each.version or "-",
        each.licence,
        each.released or "in our package",
        "us" if each.is_direct else "others",
        NOTES.get(each.name, "a finished font" if each.file.endswith(".woff2") else "kept up"),
    )
