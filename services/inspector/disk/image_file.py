"""Blocks of a disk image in a local file, raw and maybe sparse."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from services.inspector.disk.errors import SourceError
from services.inspector.disk.source import BLOCK


class ImageFile:
    """A raw image; blocks that the file does not hold are holes. A context manager.

    Raises SourceError when the file cannot be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb", buffering=0)
            self.size = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        except OSError as error:
            raise SourceError(f"cannot open {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Read these blocks; b"" for holes."""
        try:
            return [self._block(index * BLOCK) for index in indexes]
        except OSError as error:
            raise SourceError(f"cannot read {self._path}: {error.strerror}") from error

    def _block(self, offset: int) -> bytes:
        descriptor = self._file.fileno()
        if self._is_hole(offset):
            return b""
        wanted = min(BLOCK, self.size - offset)
        parts: list[bytes] = []
        while wanted:
            part = os.pread(descriptor, wanted, offset)
            if not part:
                raise SourceError(f"{self._path} has become shorter")
            parts.append(part)
            offset += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def _is_hole(self, offset: int) -> bool:
        try:
            return os.lseek(self._file.fileno(), offset, os.SEEK_DATA) >= offset + BLOCK
        except OSError as error:
            # No data from here to the end; other errors mean that holes cannot be told here.
            return error.errno == errno.ENXIO
