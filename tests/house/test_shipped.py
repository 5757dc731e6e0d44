"""What is shipped has a licence that may be, is kept up, and stands in the SBOM as the lock has it."""

import importlib
import json
import shutil
import tomllib
from datetime import date
from pathlib import Path

from cyclonedx.schema import SchemaVersion

from tests.house.tree import ROOT
from tools.reference_dependencies import NOTES, dependencies_page
from tools.sbom import make_sbom
from tools.shipped import VENDOR, shipped_packages

MAY_BE_SHIPPED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "LLVM-exception", "MIT",
    "MIT-0", "MIT-CMU",
    "OFL-1.1", "PSF-2.0", "Unlicense", "Zlib", "LGPL-3.0-only",
}  # fmt: skip
"""Licences that may be shipped with Apache-2.0 code; LGPL for psycopg alone, a package of its own."""
TWO_YEARS = 730


def test_every_licence_may_be_shipped() -> None:
    for each in shipped_packages():
        words = set(each.licence.replace("(", "").replace(")", "").split()) - {"AND", "OR", "WITH"}
        assert words <= MAY_BE_SHIPPED, each
        assert "LGPL-3.0-only" not in words or each.name == "psycopg"


def test_what_had_no_release_for_two_years_has_a_word_of_why() -> None:
    packages = [each for each in shipped_packages() if not each.file]
    latest = max(date.fromisoformat(each.released) for each in packages)
    old = {each.name for each in packages if (latest - date.fromisoformat(each.released)).days > TWO_YEARS}
    assert old <= set(NOTES)
    assert set(NOTES) <= {each.name for each in shipped_packages()}, "these are shipped no more"


def test_the_page_has_what_the_lock_has() -> None:
    page = (ROOT / "docs" / "reference" / "dependencies.md").read_text(encoding="utf-8")
    assert page == dependencies_page(), "run make docs"
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    versions = {package["name"]: package.get("version", "") for package in lock["package"]}
    for each in shipped_packages():
        if not each.file:
            assert f"| `{each.name}` | {versions[each.name]} |" in page


def test_another_lock_is_another_list(tmp_path: Path) -> None:
    shutil.copytree(ROOT / VENDOR, tmp_path / VENDOR)
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    known = next(each for each in shipped_packages() if each.name == "pillow")
    changed = lock.replace(
        f'name = "pillow"\nversion = "{known.version}"', 'name = "pillow"\nversion = "0.0.1"'
    )
    (tmp_path / "uv.lock").write_text(changed, encoding="utf-8")
    [found] = [each for each in shipped_packages(tmp_path) if each.name == "pillow"]
    assert (found.version, known.version != "0.0.1") == ("0.0.1", True)


def test_the_sbom_fits_its_schema_and_lists_what_the_lock_has() -> None:
    text = make_sbom()
    said = json.loads(text)
    listed = {(part["name"], part.get("version", "")) for part in said["components"]}
    assert listed == {(each.name, each.version) for each in shipped_packages()}
    hashes = {part["name"]: {each["content"] for each in part["hashes"]} for part in said["components"]}
    assert all(hashes[each.name] == set(each.sha256) for each in shipped_packages())
    assert text == make_sbom(), "the same lock gives the same file"
    of_json = importlib.import_module("cyclonedx.validation.json")  # takes two seconds, of each process
    validator = of_json.JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"licenses"', '"licences"')) is not None
