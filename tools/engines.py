"""Runs the tests of the engines that need much to be installed, each in an environment of its own.

`python -m tools.engines` makes the environments below .engines and installs what they need, Java too where
apt may; with a name it runs one of them. PySpark and its client cannot live in one environment.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools import bootstrap

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".engines"
NAMES = ("spark", "sail", "clickhouse")
TESTS = ("tests/measurement/test_engines_elsewhere.py", "tests/delivery/test_engines_elsewhere.py")
OLDEST_JAVA = 17
JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "openjdk-25-jre-headless")
NO_JAVA = (
    f"Spark needs Java {OLDEST_JAVA} or newer, and none is here. Install it (Debian: apt-get install"
    " openjdk-21-jre-headless; macOS: brew install openjdk) and run the same command again."
)


def main(arguments: list[str]) -> int:
    unknown = set(arguments) - set(NAMES)
    if unknown:
        print(f"engines: {', '.join(sorted(unknown))}: the names are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    if "spark" in (arguments or NAMES) and not ensure_java():
        print(NO_JAVA, file=sys.stderr)
        return 1
    failed = [name for name in arguments or NAMES if not run_tests(name)]
    if failed:
        print(f"engines: failed on {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def run_tests(name: str) -> bool:
    started = time.monotonic()
    environment = HOME / name
    os.environ["UV_PROJECT_ENVIRONMENT"] = str(environment)
    if bootstrap.main(["sync", "--locked", "--quiet", "--extra", name]) != 0:
        return False
    command = [str(environment / "bin" / "python"), "-m", "pytest", "-q", "-W", "default", *TESTS]
    variables = {**os.environ, "CONTATTO_ENGINE": name, "PYSPARK_PYTHON": command[0]}
    done = subprocess.run(command, cwd=ROOT, env=variables, check=False)
    print(f"engines: {name} took {time.monotonic() - started:.0f} s")
    return done.returncode == 0


def ensure_java() -> bool:
    """Report whether Java is here; install it where apt may be used."""
    if java_version() >= OLDEST_JAVA:
        return True
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return False
    subprocess.run(["apt-get", "-qq", "update"], check=False)
    for package in JAVA_PACKAGES:
        install = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", package]
        done = subprocess.run(install, check=False)
        if done.returncode == 0:
            break
    return java_version() >= OLDEST_JAVA


def java_version() -> int:
    program = shutil.which("java")
    if program is None:
        return 0
    version_text = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', version_text)
    return int(match.group(1)) if match else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
