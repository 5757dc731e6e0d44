"""Writes a CycloneDX SBOM of what an installation brings along: `python -m tools.sbom`, part of `make build`.

The same lock gives the same file: its serial number follows from it, and its time is that of the last release
of what it lists.
"""

import sys
import uuid
from datetime import UTC, datetime
from typing import Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

from contatto import __version__
from tools.shipped import PROJECT, ROOT, Shipped, shipped_packages

NAMESPACE: Final = uuid.UUID("6f9619ff-8b86-5011-b42d-00cf4fc964ff")
_licences: Final = LicenseFactory()


def make_sbom() -> str:
    """Return the SBOM as JSON, checked against the schema of CycloneDX 1.6.

    Raises:
        ValueError: it does not fit the schema.
    """
    shipped = shipped_packages()
    root = Component(name=PROJECT, version=__version__, type=ComponentType.APPLICATION, bom_ref=PROJECT,
                     licenses=[_licences.make_from_string("Apache-2.0")])  # fmt: skip
    parts = {each.name: _component(each) for each in shipped}
    facts = "\n".join(f"{each.name} {each.version} {' '.join(each.sha256)}" for each in shipped)
    bom = Bom(components=parts.values(), serial_number=uuid.uuid5(NAMESPACE, f"{__version__}\n{facts}"))
    latest = max(each.released for each in shipped)
    bom.metadata.timestamp = datetime.fromisoformat(latest).replace(tzinfo=UTC)
    bom.metadata.component = root
    bom.register_dependency(root, [parts[each.name] for each in shipped if each.is_direct])
    for each in shipped:
        bom.register_dependency(parts[each.name], [parts[name] for name in each.needs])
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 - compiles grammars for seconds

    text = JsonV1Dot6(bom).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise ValueError(f"the SBOM does not fit its schema: {problem}")
    return text


def _component(each: Shipped) -> Component:
    place = PackageURL("generic" if each.file else "pypi", None, each.name, each.version or None)
    # One for each file that the lock allows: the source and the wheels.
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in sorted(each.sha256)]
    return Component(
        name=each.name,
        version=each.version or None,
        type=ComponentType.FILE if each.file else ComponentType.LIBRARY,
        bom_ref=f"{each.name}@{each.version}",
        purl=place,
        licenses=[_licences.make_from_string(each.licence)],
        hashes=hashes,
    )


def main() -> int:
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    path = folder / f"{PROJECT}-{__version__}.cdx.json"
    path.write_text(make_sbom() + "\n", encoding="utf-8")
    print(f"dist/{path.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
