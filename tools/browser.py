"""Finds Chromium for the browser tests and the screenshots, and installs it where that is allowed.

`python3 -m tools.browser` installs it through apt, as root or with sudo that asks no password.
CONTATTO_CHROMIUM names a browser of your own.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The pages speak nine languages, and a screenshot full of empty boxes shows none of them.
PACKAGES = ("chromium", "fonts-noto-core", "fonts-noto-cjk")
MISSING = (
    "Chromium is missing, so the browser tests are left out. "
    "Install the package chromium, or set CONTATTO_CHROMIUM to a Chromium or Chrome."
)


def find_chromium():
    """Return the path of a Chromium that starts, or an empty string."""
    own = os.environ.get("CONTATTO_CHROMIUM")
    candidates = [own] if own else [shutil.which(name) for name in NAMES]
    return next((path for path in candidates if path and starts(path)), "")


def starts(path):
    try:
        done = subprocess.run([path, "--version"], check=False, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main():
    if find_chromium():
        return 0
    if os.environ.get("CONTATTO_CHROMIUM"):
        print("browser: CONTATTO_CHROMIUM does not start; the browser tests are left out", file=sys.stderr)
        return 0
    apt = apt_command()
    if apt:
        print("browser: installing Chromium and fonts through apt", flush=True)
        install(apt)
    if not find_chromium():
        print(f"browser: {MISSING}", file=sys.stderr)
    return 0


def apt_command():
    """Return the command for apt-get that needs no password, or an empty list."""
    if not shutil.which("apt-get"):
        return []
    if os.geteuid() == 0:
        return ["apt-get"]
    if not shutil.which("sudo"):
        return []
    sudo = subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True)
    return ["sudo", "-n", "apt-get"] if sudo.returncode == 0 else []


def install(apt):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            [*apt, *arguments],
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            print(f"browser: apt-get {arguments[0]} gave {done.returncode}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
