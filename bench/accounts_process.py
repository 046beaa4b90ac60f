"""accounts as a process of its own, with a broker in memory: `python -m bench.accounts_process`."""

import os
from contextlib import ExitStack

from libs.common import logs
from libs.common.broker_memory import MemoryBroker
from libs.common.config import load, one_line_failures
from libs.common.server import run_until_signal
from services.accounts.__main__ import serve
from services.accounts.config import AccountsConfig


def main() -> None:
    """Serve until told to stop."""
    with one_line_failures(), ExitStack() as stack:
        config = load(AccountsConfig, os.environ, service="accounts")
        logs.configure("accounts", level=config.log.level)
        serve(config, stack, broker=stack.enter_context(MemoryBroker()))
        run_until_signal()


if __name__ == "__main__":
    main()
