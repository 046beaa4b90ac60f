"""Says whether requirements.lock still fits pyproject.toml; ends with 1 when it does not.

Resolves with the lock as preference, so that only a change in pyproject.toml changes the outcome.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    lock = Path("requirements.lock")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, lock.name)
        shutil.copy(lock, copy)
        command = [
            *(str(Path(sys.executable).parent / "uv"), "pip", "compile", "pyproject.toml"),
            *("--all-extras", "--group", "dev", "--universal", "--python-version", "3.11"),
            *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--quiet"),
            *("--custom-compile-command", "make lock", "-o", str(copy)),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if copy.read_text() != lock.read_text():
            sys.exit("requirements.lock does not fit pyproject.toml; run `make lock` and commit it")


if __name__ == "__main__":
    main()
