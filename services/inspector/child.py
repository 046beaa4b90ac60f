"""The process in which one disk is read: without network, credentials or files, and bounded.

Started as `python -m services.inspector.child <socket> <memory> <processor seconds>`; ends after
one disk.
"""

import resource
import socket
import sys
import traceback
from collections.abc import Sequence

from services.inspector.disk.errors import DiskError, LimitError
from services.inspector.disk.source import BlockSource, Limits
from services.inspector.examination import examine_disk
from services.inspector.wire import (
    WireError,
    finding_to_json,
    receive_frame,
    receive_message,
    send_message,
)


class _ParentBlocks:
    """Blocks that the parent process fetches."""

    def __init__(self, parent: socket.socket, size: int) -> None:
        self.size = size
        self._parent = parent

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Ask the parent for these blocks."""
        send_message(self._parent, fetch=list(indexes))
        return [receive_frame(self._parent) for _ in indexes]


def main(arguments: Sequence[str]) -> int:
    """Read the one disk that the parent offers; 0 when the parent was told an answer."""
    descriptor, memory, seconds = (int(each) for each in arguments)
    _confine(memory, seconds)
    with socket.socket(fileno=descriptor) as parent:
        try:
            _answer(parent)
        except WireError:
            return 1
    return 0


def _confine(memory: int, seconds: int) -> None:
    """Bound this process before it looks at the disk.

    The signal for the processor time (SIGXCPU) tells its reason; a second later comes SIGKILL.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _answer(parent: socket.socket) -> None:
    start = receive_message(parent)
    limits = Limits(blocks=start["blocks"], seconds=start["seconds"])
    try:
        source = BlockSource(_ParentBlocks(parent, start["size"]), limits)
        finding = examine_disk(
            source, lambda step: send_message(parent, step=step), packages=start["packages"]
        )
    except LimitError as error:
        send_message(parent, limit=str(error))
    except DiskError as error:
        send_message(parent, trouble=str(error))
    except MemoryError:
        send_message(parent, limit="needed more memory than it may have")
    except WireError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        traceback.print_exc()
        send_message(parent, crashed=f"{type(error).__name__}: {error}")
    else:
        send_message(parent, finding=finding_to_json(finding))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
