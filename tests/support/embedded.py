"""All four services in this process, as `cloudigrade up` runs them, on free ports."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.embedded import serve_all
from libs.common.clock import SystemClock

SERVICE_TOKENS = {
    "CLOUDIGRADE_SCANNER_TOKEN": "the-scanner-token-of-this-test",
    "CLOUDIGRADE_INSPECTOR_TOKEN": "the-inspector-token-of-this-test",
    "CLOUDIGRADE_REPORTS_TOKEN": "the-reports-token-of-this-test",
}


@dataclass(frozen=True, slots=True)
class System:
    """Where the services answer, and how to call them."""

    targets: Mapping[str, str]
    token: str

    def environment(self) -> dict[str, str]:
        """Return what the command line needs to call this system."""
        return {
            "CLOUDIGRADE_TOKEN": self.token,
            **{f"CLOUDIGRADE_{name.upper()}_TARGET": at for name, at in self.targets.items()},
        }


@contextmanager
def embedded_system(state: Path, environ: Mapping[str, str]) -> Iterator[System]:
    """Run all four services over a state folder until the context ends."""
    settings = {
        **{
            f"CLOUDIGRADE_{name}_LISTEN": "127.0.0.1:0"
            for name in ("ACCOUNTS", "SCANNER", "INSPECTOR", "REPORTS")
        },
        **SERVICE_TOKENS,
        **environ,
    }
    with ExitStack() as stack:
        embedded = serve_all(settings, state, SystemClock(), stack)
        yield System(embedded.targets, embedded.token)
