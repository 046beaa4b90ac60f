"""Puts the uv that requirements.lock pins into a folder, with nothing but Python's library.

Debian's python3 comes without pip and without ensurepip, so a fresh machine has no installer; the
rest is installed by uv. The wheel is checked against the hashes in the lock file.

Usage: python fetch_uv.py requirements.lock FOLDER
"""

import hashlib
import io
import json
import os
import platform
import re
import sys
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urljoin

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"


def pinned(lock: str) -> tuple[str, set[str]]:
    """Return the version and the sha256 hashes that the lock file gives for uv."""
    entry = re.search(r"^uv==(\S+) \\\n((?:    --hash=sha256:\w+(?: \\)?\n)+)", lock, re.MULTILINE)
    if entry is None:
        sys.exit("requirements.lock pins no uv; restore it from version control")
    return entry[1], set(re.findall(r"sha256:(\w+)", entry[2]))


def platform_tag() -> str:
    """Return the part of a wheel's name that fits this machine."""
    machine = platform.machine()
    if sys.platform == "darwin":
        return f"macosx_11_0_{machine}" if machine == "arm64" else "macosx_10_12_x86_64"
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    return f"{libc}.*{machine}"


def fetch(url: str, accept: str = "*/*") -> bytes:
    """Return what stands at a URL; end the program with a plain sentence if it can't be had."""
    try:
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=180) as answer:
            return bytes(answer.read())
    except OSError as error:
        sys.exit(f"cannot fetch {url}: {error}; set UV_DEFAULT_INDEX if you use another index")


def main() -> None:
    lock, folder = Path(sys.argv[1]), Path(sys.argv[2])
    version, hashes = pinned(lock.read_text())
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    page = (index or "https://pypi.org/simple").rstrip("/") + "/uv/"
    files = json.loads(fetch(page, SIMPLE_JSON))["files"]
    name = re.compile(rf"uv-{re.escape(version)}-py3-none-{platform_tag()}.*\.whl")
    wheel = next((f for f in files if name.fullmatch(f["filename"])), None)
    if wheel is None:
        sys.exit(f"no uv {version} wheel for {sys.platform} {platform.machine()}")
    content = fetch(urljoin(page, wheel["url"]))
    if hashlib.sha256(content).hexdigest() not in hashes:
        sys.exit(f"{wheel['filename']} is not the file that requirements.lock pins")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        program = next(n for n in archive.namelist() if n.endswith(".data/scripts/uv"))
        (folder / "uv").write_bytes(archive.read(program))
    (folder / "uv").chmod(0o755)


if __name__ == "__main__":
    main()
