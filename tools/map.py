"""Table of the layers, with sizes and real imports of each package: `python -m tools.map`."""

import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "contatto"


def main() -> None:
    graph = grimp.build_graph("contatto", cache_dir=None)
    print(f"{'layer':>5}  {'package':<13}{'files':>6}{'lines':>8}{'html':>6}   imports")
    total_files = total_lines = 0
    for number, layer in enumerate(reversed(layers()), 1):
        for name in layer:
            files, lines, html = sizes(name)
            total_files, total_lines = total_files + files, total_lines + lines
            if files:
                used = ", ".join(imports(graph, name))
                print(f"{number:>5}  {name:<13}{files:>6}{lines:>8,}{html:>6}   {used}")
    print(f"{'':>5}  {'in all':<13}{total_files:>6}{total_lines:>8,}")


def layers() -> list[list[str]]:
    """List the layers of the contract in pyproject.toml, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines: list[str] = next(
        contract["layers"] for contract in contracts if contract["name"].startswith("Layers")
    )
    return [[name.strip(" ()") for name in line.replace(":", "|").split("|")] for line in lines]


def sizes(name: str) -> tuple[int, int, int]:
    """Python files, their lines, and templates."""
    folder = SOURCE / name
    files = sorted([*folder.rglob("*.py"), *SOURCE.glob(f"{name}.py")])
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    return len(files), lines, len(list(folder.rglob("*.html")))


def imports(graph: grimp.ImportGraph, name: str) -> list[str]:
    """List the other capabilities that this one imports, the one with the most imports first."""
    counts: dict[str, int] = {}
    inside = f"contatto.{name}"
    for module in sorted(graph.modules):
        if module == inside or module.startswith(f"{inside}."):
            for imported in graph.find_modules_directly_imported_by(module):
                other = imported.split(".")[1] if "." in imported else ""
                if other not in {"", name}:
                    counts[other] = counts.get(other, 0) + 1
    return sorted(counts, key=lambda other: (-counts[other], other))


if __name__ == "__main__":
    main()
