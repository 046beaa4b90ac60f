"""grpc.health.v1, kept true by workers that make each check again and again.

Not grpcio's own servicer (1.85.1): when a status changes at the moment a watcher leaves, it waits
for a send while holding the lock that the thread which completes sends is waiting for, and the
whole server stands still. Here nothing is sent under a lock; a watch holds a thread instead, and
counts among the streams.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.common.errors import NotFound
from libs.common.workers import Worker, every

# The stubs give it another class of the same name.
DESCRIPTOR = cast("ServiceDescriptor", health_pb2.DESCRIPTOR.services_by_name["Health"])
READINESS = ""
LIVENESS = "liveness"

Check = Callable[[], bool]

# The stubs know neither health's List nor that its enums are types.
_pb: Any = health_pb2
_Response = _pb.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """Answers by health name.

    `""` and every service's own name tell readiness, that is what the check named `""` says (ready
    without one); every other check has its own name; `liveness` is always SERVING.
    """

    def __init__(
        self, checks: Mapping[str, Check], services: Iterable[str], interval: timedelta
    ) -> None:
        self._log = structlog.get_logger()
        self._checks: dict[str, Check] = {READINESS: _always, **checks}
        self._services = tuple(services)
        self._serving: dict[str, bool] = dict.fromkeys((*self._checks, *self._services), False)
        self._serving[LIVENESS] = True
        self._last: dict[str, bool] = {}
        self._changed = threading.Condition()
        self._ending = False
        self._workers = [
            Worker(f"health.{name or 'readiness'}", every(interval, self._polled(name)))
            for name in checks
        ]

    def start(self) -> None:
        """Make every check once, and then go on making them."""
        for name in self._checks:
            self._poll(name)
        for worker in self._workers:
            worker.start()

    def shut_down(self) -> None:
        """Say NOT_SERVING to everybody who asks or watches, end watches; liveness stays."""
        for worker in self._workers:
            worker.stop()
        with self._changed:
            self._ending = True
            self._serving = {name: name == LIVENESS for name in self._serving}
            self._changed.notify_all()

    def Check(  # noqa: N802  # the RPC's name
        self, request: health_pb2.HealthCheckRequest, _context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a name; NotFound when it is nobody's."""
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            raise NotFound(f"There is no health name {request.service!r} here.")
        answer: health_pb2.HealthCheckResponse = _Response(status=status)
        return answer

    def List(  # noqa: N802  # the RPC's name
        self, _request: Any, _context: grpc.ServicerContext
    ) -> Any:
        """Return the status of every name."""
        statuses = {name: _Response(status=self._status(name)) for name in self._serving}
        return _pb.HealthListResponse(statuses=statuses)

    def Watch(  # noqa: N802  # the RPC's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        """Tell the status of a name now and whenever it changes, until either side goes."""
        context.add_callback(self._wake)
        told = None
        while context.is_active():
            with self._changed:
                while (status := self._status(request.service)) == told and not self._ending:
                    self._changed.wait()
                    if not context.is_active():
                        return
                ending = self._ending
            if status != told:
                yield _Response(status=status)
                told = status
            if ending:
                return

    def _status(self, name: str) -> Any:
        serving = self._serving.get(name)
        if serving is None:
            return _Response.SERVICE_UNKNOWN
        return _Response.SERVING if serving else _Response.NOT_SERVING

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _polled(self, name: str) -> Callable[[], None]:
        return lambda: self._poll(name)

    def _poll(self, name: str) -> None:
        try:
            good = self._checks[name]()
        except Exception as error:  # noqa: BLE001  # a check that fails says no
            self._note(name, good=False, error=repr(error))
        else:
            self._note(name, good=good)

    def _note(self, name: str, *, good: bool, **why: str) -> None:
        if self._last.get(name) is good:
            return
        self._last[name] = good
        self._log.info("health.changed", check=name or "readiness", serving=good, **why)
        with self._changed:
            if not self._ending:
                shown = (name, *self._services) if name == READINESS else (name,)
                self._serving.update(dict.fromkeys(shown, good))
                self._changed.notify_all()


def _always() -> bool:
    return True
