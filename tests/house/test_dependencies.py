"""Every dependency that is shipped has its reason in a decision record."""

import re
import tomllib

from tests.house.tree import ROOT

RECORD = ROOT / "docs" / "decisions" / "0013-dependencies.md"
# These come with others that the project names, but have a row of their own there.
COMES_ALONG = {"starlette", "pydantic", "htmx"}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^a-zA-Z0-9_.-]", each)[0] for each in project["dependencies"]}
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", RECORD.read_text(), re.MULTILINE)
    named = {re.sub(r" \(.*\)", "", name).strip() for row in rows[2:] for name in row.split(",")}
    assert needed - named == set(), "these have no reason"
    assert named - needed - COMES_ALONG == set(), "these are not used any more"
