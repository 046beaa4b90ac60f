"""LZO1X, as btrfs writes it: the decompressor, by the kernel's Documentation/staging/lzo.rst.

(read 2026-11). What is read has been written by anybody, so every length is checked.
"""

from services.inspector.disk.errors import DamagedError

# The least instruction of each kind; below the first, and after a match without literals behind it,
# they are literals.
_M4, _M3, _M2 = 16, 32, 64
_M4_FURTHER = 16384
_LITERALS_FIRST = 17
_AFTER_LITERALS = 4
"""State after four literals or more, in which a short match has another meaning."""


def decompress(data: bytes, most: int) -> bytes:
    """Return what was compressed, at most so many bytes; DamagedError when it is not LZO1X."""
    return _Reader(data, most).run()


class _Reader:
    """Reads instructions: literals to take over, and matches to copy from what is out already."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = data
        self._most = most
        self._at = 0
        self._out = bytearray()

    def run(self) -> bytes:
        state = self._first()
        while True:
            instruction = self._byte()
            if instruction < _M4 and state == 0:
                self._take(self._length(instruction, 15) + 3)
                state = _AFTER_LITERALS
                continue
            if instruction < _M4:
                following = self._short(instruction, state)
            elif instruction >= _M2:
                following = instruction & 3
                distance = (self._byte() << 3) + (instruction >> 2 & 7) + 1
                self._copy(distance, (instruction >> 5) + 1)
            elif instruction >= _M3:
                length = self._length(instruction & 31, 31) + 2
                place = self._word()
                following = place & 3
                self._copy((place >> 2) + 1, length)
            else:
                length = self._length(instruction & 7, 7) + 2
                place = self._word()
                distance = _M4_FURTHER + ((instruction & 8) << 11) + (place >> 2)
                if distance == _M4_FURTHER:
                    return bytes(self._out)
                following = place & 3
                self._copy(distance, length)
            self._take(following)
            state = following

    def _first(self) -> int:
        """Take the literals that a stream may begin with; return the state after them."""
        if not self._data:
            raise _damaged()
        first = self._data[0]
        if first <= _LITERALS_FIRST:
            return 0
        self._at = 1
        self._take(first - _LITERALS_FIRST)
        return min(_AFTER_LITERALS, first - _LITERALS_FIRST)

    def _short(self, instruction: int, state: int) -> int:
        """Copy two bytes, or three after a run of literals; return how many literals follow."""
        distance = (self._byte() << 2) + (instruction >> 2) + 1
        if state == _AFTER_LITERALS:
            self._copy(distance + 2048, 3)
        else:
            self._copy(distance, 2)
        return instruction & 3

    def _length(self, bits: int, most: int) -> int:
        """Return a length, which goes on in further bytes when its bits are all zero."""
        if bits:
            return bits
        length = most
        while not (byte := self._byte()):
            length += 255
            if length > self._most:
                raise _damaged()
        return length + byte

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise _damaged()
        self._at += 1
        return self._data[self._at - 1]

    def _word(self) -> int:
        return self._byte() | self._byte() << 8

    def _take(self, count: int) -> None:
        end = self._at + count
        if end > len(self._data) or len(self._out) + count > self._most:
            raise _damaged()
        self._out += self._data[self._at : end]
        self._at = end

    def _copy(self, distance: int, length: int) -> None:
        out = self._out
        start = len(out) - distance
        if start < 0 or len(out) + length > self._most:
            raise _damaged()
        # What is copied may reach into what this very copy writes.
        piece = out[start : start + length]
        out += (piece * (length // len(piece) + 1))[:length]


def _damaged() -> DamagedError:
    return DamagedError("data compressed with LZO are damaged")
