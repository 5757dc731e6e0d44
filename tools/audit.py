"""Looks for known vulnerabilities in the packages of uv.lock: `python -m tools.audit`, or `make audit`.

pip-audit runs in an environment of its own, pinned like all else, and asks the advisory database of PyPI.
Where that cannot be reached, this says so and does not fail: nothing was learned, for better or worse.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tools import bootstrap, private_uv

UNREACHED = (
    "ConnectionError", "ServiceError", "ProxyError", "NameResolution", "Max retries", "timed out",
    "Temporary failure", "Failed to fetch", "error sending request",
)  # fmt: skip
"""Messages of pip-audit, or of uv on the way to it, when it gets no data."""
GROUPS = {"what is shipped": ["--no-dev", "--no-default-groups"], "what develops it": ["--all-groups"]}


def main():
    bootstrap.trust_the_system()
    uv = bootstrap.find_uv()
    failed = False
    for name, groups in GROUPS.items():
        with tempfile.TemporaryDirectory(prefix="contatto-audit-") as folder:
            listed = Path(folder) / "packages.txt"
            export = [uv, "export", "--frozen", "--quiet", "--no-emit-project", *groups, "-o", str(listed)]
            subprocess.run(export, check=True, cwd=private_uv.ROOT)
            code, output = audit(uv, listed)
        if code == 0:
            private_uv.say(f"{name}: no known vulnerability")
        elif is_unreached(output):
            private_uv.say(f"{name}: NOT audited, the advisory data cannot be reached from here:")
            private_uv.say(f"  {last_line(output)}")
        else:
            failed = True
            print(output)
            private_uv.say(
                f"{name}: see above; `python3 -m tools.bootstrap lock --upgrade-package NAME` updates"
            )
    return 1 if failed else 0


def audit(uv, listed):
    """Return the exit code and the output of pip-audit for a list of packages."""
    command = [uv, "run", "--frozen", "--isolated", "--only-group", "audit", "pip-audit"]
    options = ["--requirement", str(listed), "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    done = subprocess.run(command + options, check=False, cwd=private_uv.ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def is_unreached(output):
    """Report whether the tool got no data, rather than bad news."""
    has_findings = "found" in output.lower().replace("not found", "")
    return not has_findings and any(message in output for message in UNREACHED)


def last_line(output):
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no reason was given"


if __name__ == "__main__":
    sys.exit(main())
