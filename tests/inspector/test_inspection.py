"""One inspection in a child process: bounded, without our credentials, and always an answer."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from services.inspector import inspection
from services.inspector.disk.errors import SourceError
from services.inspector.disk.image_file import ImageFile
from services.inspector.disk.source import BLOCK
from services.inspector.finding import Finding
from services.inspector.inspection import InspectionLimits, inspect
from services.inspector.outcome import BlocksUnavailable, Failure, FailureReason, Outcome
from tests.inspector.images import MIB, make_ext
from tests.support.waiting import wait_until

LIMITS = InspectionLimits()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small disk with a system."""
    folder = tmp_path_factory.mktemp("inspected")
    (folder / "root/etc").mkdir(parents=True)
    (folder / "root/etc/os-release").write_text('ID="rhel"\nVERSION_ID="9.4"\n')
    make_ext(folder / "disk", 8 * MIB, folder / "root", "-t", "ext4")
    return folder / "disk"


def run(
    image: Path,
    limits: InspectionLimits = LIMITS,
    progress: Callable[[str, int], None] = lambda _what, _blocks: None,
) -> Outcome:
    """Inspect an image file."""
    with ImageFile(image) as blocks:
        return inspect(blocks, limits, progress)


def failure(outcome: Outcome) -> Failure:
    """Return the failure that an inspection must have ended with."""
    assert isinstance(outcome.answer, Failure)
    return outcome.answer


def use_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run this code as the child, in place of the reader; `peer` is its socket."""
    program = (
        "import os, signal, socket, sys, time\n"
        "from services.inspector.wire import *\n"
        "peer = socket.socket(fileno=int(sys.argv[1]))\n" + code
    )

    def command(descriptor: int, _limits: InspectionLimits) -> list[str]:
        return [sys.executable, "-S", "-c", program, str(descriptor)]

    monkeypatch.setattr(inspection, "_command", command)


def test_a_disk_is_inspected_in_well_under_a_second(image: Path) -> None:
    """A new interpreter, its imports and the reading together."""
    began = time.monotonic()
    outcome = run(image)
    assert time.monotonic() - began < 1.0 + _LOADED
    assert isinstance(outcome.answer, Finding)
    assert (outcome.answer.distribution, outcome.answer.version) == ("rhel", "9.4")
    assert outcome.cost.blocks <= 8
    assert outcome.cost.bytes == outcome.cost.blocks * BLOCK
    assert outcome.cost.elapsed > timedelta(0)


# Other work on the machine may slow a test down; it must not fail for that.
_LOADED = 4.0


def test_progress_tells_each_step_and_the_blocks_so_far(image: Path) -> None:
    """The steps come in order and the count never falls."""
    told: list[tuple[str, int]] = []
    run(image, progress=lambda what, blocks: told.append((what, blocks)))
    steps = list(dict.fromkeys(what for what, _ in told))
    assert steps == [
        "starting to read",
        "reading the partition table",
        "reading ext4 on whole disk",
        "reading what else the root says",
        "reading the journal of whole disk",
    ]
    assert [blocks for _, blocks in told] == sorted(blocks for _, blocks in told)


def test_the_child_has_none_of_our_environment(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials least of all; it needs the path to its modules and nothing else."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    use_child(monkeypatch, "send_message(peer, crashed=','.join(sorted(os.environ)))")
    assert "PYTHONPATH" in failure(run(image)).message
    assert "AWS" not in failure(run(image)).message


def test_the_child_is_bounded_before_it_reads(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, processor time, no files written, no core dumps."""
    use_child(
        monkeypatch,
        "import resource as r\n"
        "from services.inspector.child import _confine\n"
        "_confine(2**29, 60)\n"
        "send_message(peer, crashed=str([r.getrlimit(x)[0] for x in "
        "(r.RLIMIT_AS, r.RLIMIT_CPU, r.RLIMIT_CORE, r.RLIMIT_FSIZE)]))",
    )
    assert "[536870912, 60, 0, 0]" in failure(run(image)).message


def test_too_little_memory_is_a_reason(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MemoryError in a reader is told as the limit that it is."""
    use_child(
        monkeypatch,
        "from services.inspector import child\n"
        "def hungry(source, progress, packages): return bytes(2**40)\n"
        "child.examine_disk = hungry\n"
        "child._answer(peer)",
    )
    told = failure(run(image))
    assert told.reason is FailureReason.LIMIT
    assert "memory" in told.message


def test_a_reader_with_a_defect_is_a_reason(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody expected ends this inspection and nothing else."""
    use_child(
        monkeypatch,
        "from services.inspector import child\n"
        "def broken(source, progress, packages): return [][0]\n"
        "child.examine_disk = broken\n"
        "child._answer(peer)",
    )
    told = failure(run(image))
    assert told.reason is FailureReason.CRASHED
    assert told.passing
    assert "IndexError" in told.message


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", FailureReason.CRASHED, "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", FailureReason.CRASHED, "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", FailureReason.LIMIT, "processor time"),
        ("sys.exit(3)", FailureReason.CRASHED, "gone"),
        ("send_frame(peer, b'no json')", FailureReason.CRASHED, "not JSON"),
        ("send_frame(peer, b'[]')", FailureReason.CRASHED, "not a JSON object"),
        ("send_message(peer, finding={'distribution': 1})", FailureReason.CRASHED, "no finding"),
        ("peer.sendall(b'\\xff' * 100)", FailureReason.CRASHED, "a frame of"),
        ("send_message(peer, fetch=[-1])", FailureReason.CRASHED, "blocks that there are not"),
        ("send_message(peer, fetch=[10**9])", FailureReason.CRASHED, "blocks that there are not"),
        ("send_message(peer, fetch='all')", FailureReason.CRASHED, "asked for no blocks"),
        ("send_message(peer, nonsense=1)", FailureReason.CRASHED, "sent no answer"),
    ],
)
def test_a_child_that_dies_or_breaks_the_rules_is_a_reason(
    image: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: FailureReason, said: str
) -> None:
    """Whatever the disk made of it, the service goes on and says what happened."""
    use_child(monkeypatch, f"receive_message(peer)\n{code}\n")
    told = failure(run(image))
    assert told.reason is reason
    assert said.replace("no finding", "not a finding") in told.message


def test_a_child_that_takes_too_long_is_ended(
    image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the wall clock, though it does nothing; and it is really gone."""
    pid = tmp_path / "pid"
    use_child(monkeypatch, f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    told = failure(run(image, InspectionLimits(wall_time=timedelta(seconds=1))))
    assert told.reason is FailureReason.LIMIT
    assert "1 s" in told.message
    assert told.passing
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_child_that_computes_for_ever_is_ended(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its processor time, long before the wall clock."""
    use_child(
        monkeypatch,
        "from services.inspector.child import _confine\n_confine(2**29, 1)\nwhile True: pass",
    )
    told = failure(run(image))
    assert told.reason is FailureReason.LIMIT
    assert "processor time" in told.message


def test_too_many_blocks_are_a_reason(image: Path) -> None:
    """The limit that guards what AWS bills."""
    told = failure(run(image, InspectionLimits(blocks=1)))
    assert told == Failure(
        FailureReason.LIMIT, "The inspection gave up after reading 1 blocks of 512 KiB."
    )


class Failing:
    """Blocks whose source fails at the second fetch."""

    size = 64 * MIB

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._fetched = 0

    def fetch(self, indexes: Sequence[int]) -> list[bytes]:
        """Give noise once, and then fail."""
        self._fetched += 1
        if self._fetched > 1:
            raise self._error
        return [b"\x01" * BLOCK for _ in indexes]


def test_blocks_that_cannot_be_had_are_the_answer() -> None:
    """With the reason that the source gave, and what was fetched until then."""
    gone = Failure(FailureReason.NOT_FOUND, "The snapshot is gone.")
    outcome = inspect(Failing(BlocksUnavailable(gone)), LIMITS, lambda *_: None)
    assert outcome.answer == gone
    assert outcome.cost.blocks == 1
    outcome = inspect(Failing(SourceError("cannot read")), LIMITS, lambda *_: None)
    assert failure(outcome).reason is FailureReason.AWS_TROUBLE
    assert failure(outcome).passing


def test_an_inspection_that_nobody_wants_any_more_ends(image: Path) -> None:
    """What progress raises comes out, and the child is gone."""

    class Unwanted(Exception):
        pass

    def progress(_what: str, blocks: int) -> None:
        if blocks:
            raise Unwanted

    with pytest.raises(Unwanted):
        run(image, progress=progress)


def test_a_child_whose_parent_is_gone_ends_by_itself(image: Path, tmp_path: Path) -> None:
    """It finds nobody at its next question, however its parent ended."""
    program = (
        "import os, signal, sys, pathlib\n"
        "from services.inspector import inspection\n"
        "from services.inspector.disk.image_file import ImageFile\n"
        "from services.inspector.inspection import InspectionLimits, inspect\n"
        "popen = inspection.subprocess.Popen\n"
        "def start(*a, **k):\n"
        "    p = popen(*a, **k); pathlib.Path(sys.argv[2]).write_text(str(p.pid)); return p\n"
        "inspection.subprocess.Popen = start\n"
        "def progress(what, blocks):\n"
        "    if blocks: os.kill(os.getpid(), signal.SIGKILL)\n"
        "inspect(ImageFile(pathlib.Path(sys.argv[1])), InspectionLimits(), progress)\n"
    )
    pid = tmp_path / "pid"
    status = os.spawnv(  # noqa: S606  # this interpreter
        os.P_WAIT, sys.executable, [sys.executable, "-c", program, str(image), str(pid)]
    )
    assert status == -signal.SIGKILL
    wait_until(lambda: not Path(f"/proc/{pid.read_text()}").exists())
