"""Runs the benchmarks one after another and keeps their figures: `python -m tools.benches --quick`.

The peers that they are measured against are much to install, so they live in an environment of their own,
below .engines. Where they cannot be had, the benchmarks run without them and say which were skipped.
"""

import os
import subprocess
import sys
from pathlib import Path

from tools import bootstrap

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".engines" / "bench"
ENDS_WITHIN_S = 3600
QUICK_ENDS_WITHIN_S = 180
FIGURES = ROOT / "build" / "bench"


def main(arguments: list[str]) -> int:
    options = [argument for argument in arguments if argument.startswith("--")]
    chosen = [argument for argument in arguments if not argument.startswith("--")]
    scripts = {path.stem: path for path in sorted((ROOT / "bench").glob("*.py")) if path.stem != "harness"}
    unknown = set(chosen) - set(scripts)
    if unknown:
        print(f"There is no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(scripts)}.")
        return 2
    python = python_with_peers()
    failed = [name for name in chosen or scripts if not run_bench(python, name, options)]
    print(f"Figures as JSON: {FIGURES.relative_to(ROOT)}/")
    return 1 if failed else 0


def python_with_peers() -> str:
    """Return the interpreter of the environment with the peers; this one when they cannot be installed."""
    os.environ["UV_PROJECT_ENVIRONMENT"] = str(PEERS)
    if bootstrap.main(["sync", "--locked", "--quiet", "--group", "bench"]) == 0:
        return str(PEERS / "bin" / "python")
    print("The peers could not be installed, so the benchmarks run without them.")
    return sys.executable


def run_bench(python: str, name: str, options: list[str]) -> bool:
    command = [python, "-m", f"bench.{name}", *options, "--json", str(FIGURES / f"{name}.json")]
    limit = QUICK_ENDS_WITHIN_S if "--quick" in options else ENDS_WITHIN_S
    try:
        return subprocess.run(command, cwd=ROOT, check=False, timeout=limit).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"{name} did not end within {limit} seconds")
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
