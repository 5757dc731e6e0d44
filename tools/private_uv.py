"""A private copy of uv under .bootstrap/, in the version and with the hashes that uv.lock pins.

Runs on Python 3.9 and newer with the standard library only.
"""

import hashlib
import html
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bootstrap"
INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


class Failed(Exception):
    """Says what went wrong and what to do about it."""


def say(text):
    print(f"bootstrap: {text}", flush=True)


def other_index():
    """Return the package index that the environment asks for, or an empty string for the one in uv.lock."""
    return next((os.environ[name].rstrip("/") for name in INDEX_VARIABLES if os.environ.get(name)), "")


def install():
    """Try pip in a new venv, then the pip of this Python, then a plain download; return the program."""
    reasons = []
    for attempt in (_with_venv, _with_pip, _with_download):
        try:
            program = attempt()
            subprocess.run([str(program), "--version"], check=True, capture_output=True)
        except (Failed, OSError, subprocess.CalledProcessError) as reason:
            reasons.append(f"  {attempt.__name__.strip('_').replace('_', ' ')}: {_last_line(reason)}")
            continue
        return program
    raise Failed(
        "could not get uv, which installs everything else. Tried:\n"
        + "\n".join(reasons)
        + "\nInstall uv (or the Debian package python3-venv), or set PIP_INDEX_URL or a proxy, and try again."
    )


def _with_venv():
    target = HOME / "venv"
    shutil.rmtree(target, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(target))
    _run(str(target / "bin" / "python"), "-m", "pip", *_pip_arguments())
    return target / "bin" / "uv"


def _with_pip():
    target = HOME / "pip"
    shutil.rmtree(target, ignore_errors=True)
    _run(sys.executable, "-m", "pip", *_pip_arguments(), "--target", str(target))
    return target / "bin" / "uv"


def _with_download():
    name, url, sha256 = _wheel_for_this_machine()
    if other_index():
        url = _find_on_index(name)
    say(f"downloading {name}")
    content = _read(url)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Failed(f"{name} is not the file that uv.lock names: its sha256 differs")
    target = HOME / "uv"
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        member = next(entry for entry in wheel.namelist() if entry.endswith(".data/scripts/uv"))
        target.write_bytes(wheel.read(member))
    target.chmod(0o755)
    return target


def _pinned():
    """Return the version of uv in uv.lock, and its wheels as (file name, url, sha256)."""
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    section = next((part for part in lock.split("[[package]]") if '\nname = "uv"\n' in part), "")
    version = re.search(r'^version = "([^"]+)"', section, re.MULTILINE)
    if not version:
        raise Failed("uv.lock does not pin uv; the checkout looks damaged")
    files = re.findall(r'url = "([^"]+\.whl)", hash = "sha256:([0-9a-f]+)"', section)
    return version.group(1), [(url.rsplit("/", 1)[1], url, sha256) for url, sha256 in files]


def _pip_arguments():
    version, wheels = _pinned()
    pins = HOME / "uv.txt"
    hashes = " ".join(f"--hash=sha256:{sha256}" for _, _, sha256 in wheels)
    pins.write_text(f"uv=={version} {hashes}\n", encoding="utf-8")
    return ["install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(pins)]


def _wheel_for_this_machine():
    machine = platform.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    system = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    if sys.platform == "darwin":
        machine, system = machine.replace("aarch64", "arm64"), "macosx"
    _, wheels = _pinned()
    for wheel in wheels:
        if system in wheel[0] and wheel[0].endswith(f"{machine}.whl"):
            return wheel
    raise Failed(f"there is no ready-made uv for {sys.platform} on {machine}")


def _find_on_index(name):
    page_url = f"{other_index()}/uv/"
    page = _read(page_url, accept="text/html").decode("utf-8", "replace")
    for link in re.findall(r'href\s*=\s*["\']([^"\']+)["\']', page):
        url = urllib.parse.urljoin(page_url, html.unescape(link)).split("#")[0]
        if urllib.parse.unquote(url.rsplit("/", 1)[1]) == name:
            return url
    raise Failed(f"{page_url} does not list {name}")


def _read(url, accept="*/*"):
    # urllib takes proxies from the environment by itself.
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "contatto-bootstrap"})
    opener = urllib.request.build_opener()
    if parts.username:
        keys = urllib.request.HTTPPasswordMgrWithPriorAuth()
        bare = parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]).geturl()
        user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
        keys.add_password(None, bare, user, password, is_authenticated=True)
        opener.add_handler(urllib.request.HTTPBasicAuthHandler(keys))
        request.full_url = bare
    try:
        with opener.open(request, timeout=60) as answer:
            content = answer.read()
    except OSError as reason:
        raise Failed(f"cannot read {parts.path} on {parts.hostname}: {reason}") from reason
    return content


def _run(*command):
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or done.stdout.strip() or f"{command[0]} gave {done.returncode}")


def _last_line(reason):
    lines = [line for line in str(reason).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(reason).__name__
