"""A local AWS in a process of its own, so that it takes no time from this one."""

import json
import os
import subprocess
import sys
from http.client import HTTPConnection
from typing import Self
from urllib.parse import urlencode

from demo.local_aws.clients import Clients, Key
from libs.common.config import StartError

KEYS_PATH = "/local-aws/keys"
_STOP_SECONDS = 10.0


class AwsProcess(Clients):
    """Runs `python -m demo.local_aws` while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    def __enter__(self) -> Self:
        # Not what leads to the real AWS, and no session of the terminal's: Ctrl-C is for us.
        environ = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self._process = subprocess.Popen(  # this very program
            [sys.executable, "-m", "demo.local_aws"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()  # the end of its input tells it to stop
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def url(self) -> str:
        """Return its address, once it is there. StartError when it does not start."""
        if not self._url:
            if self._process is None or self._process.stdout is None:
                raise RuntimeError("the local AWS does not run")
            self._url = self._process.stdout.readline().strip()
            if not self._url:
                raise StartError("the local AWS did not start; is the extra `demo` installed?")
        return self._url

    def access_key(self, account_id: str, partition: str = "aws") -> Key:
        """Make an access key that may do anything in an account."""
        asked = urlencode({"account": account_id, "partition": partition})
        connection = HTTPConnection(self.url.removeprefix("http://"))
        try:
            connection.request("POST", f"{KEYS_PATH}?{asked}")
            return Key(*json.loads(connection.getresponse().read()))
        finally:
            connection.close()
