"""What bounds every figure on a machine: its processors, its disk, its load."""

import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path

_PAGE = 8192
_SYNCS = 100
_HASHED = 64 * 1024 * 1024


def limits(folder: Path) -> str:
    """Measure, and say in words, what this machine can do at most, with files in a folder."""
    return (
        f"{os.cpu_count()} processors (load {os.getloadavg()[0]:.1f}), one of which hashes"
        f" {_HASHED / _hashing() / 1e6:,.0f} MB/s (SHA-256); {_PAGE // 1024} KiB written and synced"
        f" in {_syncing(folder) * 1e3:.2f} ms"
    )


def _hashing() -> float:
    block = bytes(_HASHED)
    began = time.process_time()
    hashlib.sha256(block).digest()
    return time.process_time() - began


def _syncing(folder: Path) -> float:
    """Return the median seconds until a page at the end of a file is on the disk."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(_PAGE))
            file.flush()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took)
