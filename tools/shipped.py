"""Third-party parts of an installation: the packages of uv.lock that it needs, and vendored files.

Read from uv.lock and from the metadata of the installed packages; nothing is asked of the network.
"""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENDOR: Final = "src/contatto/ui/static/vendor"
PROJECT: Final = "contatto"

NOT_HERE: Final = {"colorama": "BSD-3-Clause", "httpx2-jsfetch": "BSD-3-Clause"}
"""Licences of what is needed on other systems alone (Windows, a browser), read from their own pages."""
NAMED: Final = {
    "BSD": "BSD-2-Clause", "BSD License": "BSD-3-Clause", "ISC License": "ISC", "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
}  # fmt: skip
"""Older words of metadata for SPDX expressions."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A package, or a file of somebody else's, as it is shipped or installed."""

    name: str
    version: str
    licence: str
    """An SPDX expression."""
    released: str
    """The day on which this version was published, as YYYY-MM-DD; empty where nothing says so."""
    sha256: tuple[str, ...]
    needs: tuple[str, ...]
    is_direct: bool
    file: str = ""
    """Its path in our own package, for a file."""


def shipped_packages(root: Path = ROOT) -> list[Shipped]:
    """List the packages of the lock that running Contatto needs, direct or not, by name; files come last."""
    lock = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))
    packages = {package["name"]: package for package in lock["package"]}
    direct = {each["name"] for each in packages[PROJECT]["dependencies"]}
    found: set[str] = set()
    waiting = list(direct)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _needs(packages[name])
    made = [_package(packages[name], name in direct) for name in sorted(found)]
    files = [*(root / VENDOR).glob("*.js"), *(root / VENDOR / "fonts").glob("*.woff2")]
    return made + [_file(path, root) for path in sorted(files)]


def licence_of(name: str) -> str:
    """Return the licence in the metadata of an installed package, as an SPDX expression."""
    if name in NOT_HERE:
        return NOT_HERE[name]
    about = metadata.metadata(name)
    said = about.get("License-Expression") or about.get("License") or ""
    if not said or "\n" in said:  # some put the whole text there
        words = [each for each in about.get_all("Classifier", []) if each.startswith("License ::")]
        said = words[0].rpartition(" :: ")[2] if words else "unknown"
    return NAMED.get(said, said)


def _needs(package: dict[str, Any]) -> list[str]:
    return sorted({each["name"] for each in package.get("dependencies", ())})


def _package(package: dict[str, Any], is_direct: bool) -> Shipped:  # noqa: FBT001 - read off a set
    files = [*([package["sdist"]] if "sdist" in package else []), *package.get("wheels", ())]
    return Shipped(
        name=package["name"],
        version=package["version"],
        licence=licence_of(package["name"]),
        released=max((str(file.get("upload-time", ""))[:10] for file in files), default=""),
        sha256=tuple(sorted(each["hash"].removeprefix("sha256:") for each in files)),
        needs=tuple(_needs(package)),
        is_direct=is_direct,
    )


def _file(path: Path, root: Path) -> Shipped:
    """Describe a file of another project; its name has its version where there is one."""
    match = re.fullmatch(r"([a-z]+)-(\d[\d.]*\d)(?:\.min)?\.js", path.name)
    name, version = (match[1], match[2]) if match else (path.stem, "")
    licence = next((said for start, said in VENDORED.items() if name.startswith(start)), "unknown")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Shipped(
        name, version, licence, "", (digest,), (), is_direct=True, file=str(path.relative_to(root))
    )


VENDORED: Final = {"htmx": "0BSD", "bricolage-grotesque": "OFL-1.1", "hanken-grotesk": "OFL-1.1"}
"""Licences of files that lie in our own package, each with its text beside it."""
