"""A private RabbitMQ node for the tests: own ports, folders, name, cookie and epmd.

It never touches a RabbitMQ that is installed as a service on the same machine.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from socket import AF_INET, SOCK_STREAM, create_connection, socket
from threading import Event
from time import monotonic

import pika
import pytest
from pika.exceptions import AMQPError

REQUIRED = "CLOUDIGRADE_REQUIRE_RABBITMQ"
BIN = Path("/usr/lib/rabbitmq/bin")
START_SECONDS = 90.0


class RabbitNode:
    """A RabbitMQ node and its epmd, run as whoever runs the tests.

    Both are children of this process, known by pid; `close` ends both, whatever state they are in.
    """

    def __init__(self, folder: Path) -> None:
        """Make its configuration in a folder that is its own."""
        self._folder = folder
        self.port, distribution, self._epmd_port = _free_ports(3)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._environment = self._configure(distribution)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the node."""
        assert self._node is not None, "the node is not started"
        return self._node.pid

    def start(self) -> None:
        """Start the node, or start it again on its data; return when it accepts clients."""
        if self._epmd is None:
            self._epmd = self._run("epmd")
        self._node = self._run(str(BIN / "rabbitmq-server"))
        self._wait_until_up()

    def kill(self) -> None:
        """End the node with SIGKILL, as a power cut would."""
        assert self._node is not None, "the node is not started"
        self._node.send_signal(signal.SIGKILL)
        self._node.wait()

    def stop(self) -> None:
        """End the node as its operator would."""
        assert self._node is not None, "the node is not started"
        self._node.send_signal(signal.SIGTERM)
        self._node.wait(START_SECONDS)

    def wait_until_saved(self, queue: str) -> None:
        """Wait until a new queue would survive a kill.

        About a second after a queue is declared, RabbitMQ 3.10 saves the table that leads from its
        name to its data. Killed before, it starts the queue anew, empty. The third word of that
        table's file (Erlang's dets) says whether all of it is saved.
        """
        tables = list(self._folder.glob("data/*/quorum/*/names.dets"))
        deadline = monotonic() + START_SECONDS
        while not any(_is_saved(table.read_bytes(), queue) for table in tables):
            assert monotonic() < deadline, f"RabbitMQ did not save the name of {queue}"
            Event().wait(0.05)

    def freeze(self) -> None:
        """Stop the node's process from running; its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        os.kill(self.pid, signal.SIGCONT)

    def control(self, *arguments: str) -> None:
        """Run rabbitmqctl on this node."""
        command = [str(BIN / "rabbitmqctl"), "--node", self._environment["RABBITMQ_NODENAME"]]
        done = subprocess.run(
            [*command, *arguments], env=self._environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        """End the node and its epmd."""
        for process in (self._node, self._epmd):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def _run(self, program: str) -> subprocess.Popen[bytes]:
        with (self._folder / "output.log").open("ab") as output:
            return subprocess.Popen(
                # So that it ends with the tests however they end.
                ["setpriv", "--pdeathsig", "KILL", program],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C for the tests is not one for the node
            )

    def _configure(self, distribution_port: int) -> dict[str, str]:
        folder = self._folder
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndisk_free_limit.absolute = 1MB\n"
        )
        (folder / "environment.conf").touch()
        (folder / "plugins").write_text("[].\n")
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),  # of the cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"cloudigrade-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            # The start script then becomes the node, instead of waiting for it as its parent.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def _wait_until_up(self) -> None:
        assert self._node is not None, "the node is not started"
        deadline = monotonic() + START_SECONDS
        while not self._answers():
            assert self._node.poll() is None, f"RabbitMQ ended: {self._output()}"
            assert monotonic() < deadline, f"RabbitMQ did not start: {self._output()}"
            Event().wait(0.05)

    def _answers(self) -> bool:
        with suppress(OSError):
            create_connection(("127.0.0.1", self.port), 1.0).close()
            with suppress(AMQPError):
                pika.BlockingConnection(pika.URLParameters(self.url)).close()
                return True
        return False

    def _output(self) -> str:
        return (self._folder / "output.log").read_text(errors="replace")[-3000:]


def missing() -> str | None:
    """Say what a RabbitMQ node would need and this machine lacks; None when it has it all."""
    if not (BIN / "rabbitmq-server").exists():
        return f"there is no {BIN / 'rabbitmq-server'}; install Debian's package rabbitmq-server"
    for program in ("epmd", "setpriv"):
        if which(program) is None:
            return f"there is no {program} in PATH"
    return None


@pytest.fixture(scope="session")
def rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """One running node for all tests; a test that ends it starts it again."""
    if lack := missing():
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"RabbitMQ is required ({REQUIRED}=1), but {lack}", pytrace=False)
        pytest.skip(f"NOT RUN against RabbitMQ: {lack}")
    node = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    try:
        node.start()
        yield node
    finally:
        node.close()


def _is_saved(table: bytes, queue: str) -> bool:
    return queue.encode() in table and table[8:12] == b"\0\0\0\1"


def _free_ports(count: int) -> list[int]:
    sockets = [socket(AF_INET, SOCK_STREAM) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
