"""The local AWS as a whole: its server, its Regions, and who may call it."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs

from moto.core.base_backend import BackendDict
from moto.iam.models import AccessKey, iam_backends
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from demo.local_aws import gate, images, instances, regions, roles, snapshots
from demo.local_aws.clients import DISABLED_REGIONS, REGIONS, Clients, Key
from demo.local_aws.clock import CLOCK, ask
from demo.local_aws.moment import HEADER
from demo.local_aws.process import KEYS_PATH

if TYPE_CHECKING:
    from collections import Counter

_SERVICES = {"ec2", "ebs", "iam", "sts"}
_SERVICE = 3  # its place in the scope of a signature


class LocalAws(Clients):
    """A local AWS on a free port of 127.0.0.1, while it is entered.

    moto keeps its state in the process, so there is one at a time.
    """

    def __init__(
        self,
        *,
        enabled: Sequence[str] = REGIONS,
        disabled: Sequence[str] = DISABLED_REGIONS,
        port: int = 0,
    ) -> None:
        super().__init__()
        self._regions = (tuple(enabled), tuple(disabled))
        self._port = port
        self._server: BaseWSGIServer | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        _install()
        self.reset()
        self._server = make_server(
            "127.0.0.1", self._port, _application, threaded=True, request_handler=_QuietHandler
        )
        self._thread = Thread(target=self._server.serve_forever, name="local-aws", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        """Forget everything: accounts, instances, disks, planned faults, the time."""
        BackendDict.reset()
        gate.GATE.reset(*self._regions)
        snapshots.Listings.empty_first_pages = 0
        CLOCK.set(None)

    @property
    def url(self) -> str:
        """Return what AWS_ENDPOINT_URL should be. RuntimeError while it does not run."""
        if self._server is None:
            raise RuntimeError("the local AWS does not run")
        return f"http://127.0.0.1:{self._server.server_port}"

    def set_clock(self, now: Callable[[], datetime] | None) -> None:
        """Take the time of requests that name none from `now` (None: the machine's time)."""
        CLOCK.set(now)

    def access_key(self, account_id: str, partition: str = "aws") -> Key:
        """Make an access key that may do anything in an account."""
        return _make_key(account_id, partition)

    def fail(
        self,
        action: str,
        code: str,
        *,
        message: str = "a planned fault",
        status: int = 400,
        region: str | None = None,
        times: int | None = None,
    ) -> None:
        """Refuse an action ("ec2:DescribeInstances"): so many times, or until the next reset."""
        fault = gate.Fault(action, region, code, message, status, times=times)
        gate.GATE.faults.append(fault)

    def delay(self, action: str, seconds: float) -> None:
        """Let an action ("ebs:GetSnapshotBlock") take longer, until the next reset."""
        gate.GATE.faults.append(gate.Fault(action, seconds=seconds))

    def page_emptily(self, pages: int) -> None:
        """Let ListSnapshotBlocks begin with so many empty pages, as AWS may."""
        snapshots.Listings.empty_first_pages = pages

    def expire_sessions(self) -> None:
        """End every session that AssumeRole has given so far."""
        for account in list(iam_backends.values()):
            for backend in account.values():
                gate.GATE.expired.update(
                    key for key in backend.access_keys if key.startswith("ASIA")
                )

    @property
    def calls(self) -> "Counter[str]":
        """Return how often each action was asked for since the last reset."""
        return gate.GATE.calls.copy()


class _AccessKey(AccessKey):
    def is_created(self) -> bool:
        return True  # CloudFormation's concern, abstract in moto


def _make_key(account_id: str, partition: str) -> Key:
    made = _AccessKey(user_name=None, prefix="AKIA", account_id=account_id)
    iam_backends[account_id][partition].access_keys[made.access_key_id] = made
    return Key(made.access_key_id, made.secret_access_key)


@cache
def _install() -> None:
    """Change moto once in a process."""
    for module in (instances, images, snapshots, regions, roles, gate):
        module.install()


class _QuietHandler(MotoRequestHandler):
    def log(self, *_: object) -> None:
        """Say nothing."""


def _application(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer a request (WSGI) by the service that it is signed for, at the time that it names."""
    if environ["PATH_INFO"] == KEYS_PATH:
        asked = parse_qs(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(_make_key(asked["account"][0], asked["partition"][0])).encode()]
    ask(environ.get("HTTP_" + HEADER.upper().replace("-", "_")))
    # AWS4-HMAC-SHA256 Credential=AKIA.../20261122/us-east-1/ec2/aws4_request, ...
    scope = environ.get("HTTP_AUTHORIZATION", "").partition(",")[0].split("/")
    service = scope[_SERVICE] if len(scope) > _SERVICE else ""
    if service not in _SERVICES:
        start_response("501 Not Implemented", [("Content-Type", "text/plain")])
        return [f"the local AWS has no service {service!r}".encode()]
    return _service_application(service)(environ, start_response)


@cache
def _service_application(service: Any) -> Any:
    return create_backend_app(service)
