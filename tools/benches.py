"""Runs the benchmarks one after another and keeps their figures: `python -m tools.benches --quick`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENDS_WITHIN_S = 1800
QUICK_ENDS_WITHIN_S = 180
FIGURES = ROOT / "build" / "bench"


def main(arguments: list[str]) -> int:
    options = [each for each in arguments if each.startswith("--")]
    chosen = [each for each in arguments if not each.startswith("--")]
    scripts = {path.stem: path for path in sorted((ROOT / "bench").glob("*.py")) if path.stem != "harness"}
    unknown = set(chosen) - set(scripts)
    if unknown:
        print(f"There is no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(scripts)}.")
        return 2
    failed = [name for name in chosen or scripts if not run_bench(name, options)]
    print(f"Figures as JSON: {FIGURES.relative_to(ROOT)}/")
    return 1 if failed else 0


def run_bench(name: str, options: list[str]) -> bool:
    command = [sys.executable, "-m", f"bench.{name}", *options, "--json", str(FIGURES / f"{name}.json")]
    limit = QUICK_ENDS_WITHIN_S if "--quick" in options else ENDS_WITHIN_S
    try:
        return subprocess.run(command, cwd=ROOT, check=False, timeout=limit).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"{name} did not end within {limit} seconds")
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
