"""Sets up .venv with everything that the project needs, given only Python 3 and a package index.

Runs on Python 3.9 and newer with the standard library only: `python3 -m tools.bootstrap`.
The project itself needs Python 3.12, which uv finds on this machine or fetches.
With `--runtime` it leaves out the groups for development and tests.
With other arguments it hands them to uv, for example `python3 -m tools.bootstrap lock`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import private_uv
from tools.private_uv import HOME, ROOT, Failed, say

OLDEST_UV = (0, 7)
OLDEST_PYTHON = (3, 12)
VENV = ROOT / ".venv"
STAMP = VENV / ".set-up"
RUNTIME_STAMP = VENV / ".set-up-to-run"
RUNTIME = "--runtime"
PYTHON_NAMES = ("python3.13", "python3.12", "python3.14", "python3")
# Debian cuts some modules out of its smallest Python; without these two nothing here works.
PROBE = "import sys, ssl, sqlite3; print('%d.%d' % sys.version_info[:2])"


def main(arguments):
    current = fingerprint()
    is_runtime = arguments == [RUNTIME]
    stamp = RUNTIME_STAMP if is_runtime else STAMP
    hands_on = arguments and not is_runtime
    if not hands_on and stamp.exists() and stamp.read_text(encoding="utf-8") == current:
        stamp.touch()
        return 0
    try:
        HOME.mkdir(exist_ok=True)
        trust_the_system()
        uv = find_uv()
        choose_python()
        if hands_on:
            run_uv(uv, *arguments)
            return 0
        install_packages(uv, is_runtime)
        compile_kernels()
    except Failed as failure:
        print(f"bootstrap: {failure}", file=sys.stderr)
        return 1
    for complete in [stamp] if is_runtime else [STAMP, RUNTIME_STAMP]:
        complete.write_text(current, encoding="utf-8")
    say("everything is in place")
    return 0


def fingerprint():
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "uv.lock"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def trust_the_system():
    """Let uv trust the certificates that this machine trusts, such as those of a company's proxy."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        os.environ.setdefault("SSL_CERT_FILE", str(bundle))


def find_uv():
    private = (HOME / "venv/bin/uv", HOME / "pip/bin/uv", HOME / "uv")
    for candidate in (shutil.which("uv"), *private):
        if candidate and uv_version(candidate) >= OLDEST_UV:
            return str(candidate)
    say("no usable uv found, getting a private one (nothing outside this folder changes)")
    return str(private_uv.install())


def uv_version(program):
    match = re.match(r"uv (\d+)\.(\d+)", output_of([str(program), "--version"]))
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def choose_python():
    """Point uv at a Python that starts, so that it never has to try broken ones (such as pyenv's shims)."""
    if os.environ.get("UV_PYTHON") or python_version(VENV / "bin" / "python") >= OLDEST_PYTHON:
        return
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    for name in PYTHON_NAMES:
        for folder in folders:
            candidate = Path(folder) / name
            if python_version(candidate) >= OLDEST_PYTHON:
                os.environ["UV_PYTHON"] = str(candidate)
                return
    say("no Python 3.12 or newer here, so uv fetches one")
    os.environ["UV_PYTHON"] = "3.13"


def python_version(program):
    match = re.match(r"(\d+)\.(\d+)", output_of([str(program), "-c", PROBE]))
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def output_of(command):
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def install_packages(uv, is_runtime):
    """Install the packages of uv.lock; for the runtime alone, those of the tests stay where they are."""
    say("installing the packages of uv.lock into .venv")
    index = private_uv.other_index()
    if index:
        install_from(uv, index, is_runtime)
    else:
        run_uv(uv, "sync", "--locked", *(["--no-default-groups", "--inexact"] if is_runtime else []))


def compile_kernels():
    """Compile the kernels of ad delivery, so that no first decision waits for a compiler."""
    say("compiling the kernels of ad delivery")
    deliver = [str(VENV / "bin" / "contatto"), "deliver"]
    done = subprocess.run(deliver, check=False, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(
            "`contatto deliver` does not start, see above. Remove .venv, then run the command again."
        )


def install_from(uv, index, is_runtime):
    """Install the same files, by their hashes, from another index: `uv sync` insists on the one it locked."""
    os.environ["UV_DEFAULT_INDEX"] = index
    wanted = HOME / "packages.txt"
    groups = ["--no-default-groups"] if is_runtime else []
    run_uv(uv, "export", "--frozen", "--quiet", "--no-emit-project", *groups, "--output-file", str(wanted))
    if python_version(VENV / "bin" / "python") < OLDEST_PYTHON:
        run_uv(uv, "venv", "--clear", "--quiet", str(VENV))
    os.environ["UV_PYTHON"] = str(VENV / "bin" / "python")
    install = ["install", "--requirements"] if is_runtime else ["sync"]
    run_uv(uv, "pip", *install, str(wanted), "--require-hashes")
    run_uv(uv, "pip", "install", "--no-deps", "--editable", str(ROOT))


def run_uv(uv, *arguments):
    # An activated venv of another project would only make uv warn.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run([uv, *arguments], check=False, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failed(
            f"`uv {arguments[0]}` failed, see above. If it speaks of the network, set UV_DEFAULT_INDEX or "
            "HTTPS_PROXY. If it speaks of the lock file, run `python3 -m tools.bootstrap lock`. "
            "If it speaks of Python, install Python 3.12 or newer. Then run the same make command again."
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
