"""What was read or worked out before, kept as long as there is room."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Values by key, of so many bytes together at most; those not used for longest go first.

    A value larger than that is not kept. Threads may share it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def get(self, key: K) -> V | None:
        """Return the value of a key, None when it is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: K, value: V, nbytes: int) -> None:
        """Keep a value of so many bytes, in place of an older one of the key."""
        with self._lock:
            self._bytes -= self._kept.pop(key, (None, 0))[1]
            if nbytes > self._most:
                return
            self._kept[key] = (value, nbytes)
            self._bytes += nbytes
            while self._bytes > self._most:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed

    def items(self) -> dict[K, V]:
        """Return all that is kept, as of now."""
        with self._lock:
            return {key: value for key, (value, _) in self._kept.items()}
