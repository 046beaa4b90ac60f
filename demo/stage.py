"""What the demo plays on: a local AWS with the fleet's past, and all four services."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cli.connection import Connections
from cli.settings import ClientConfig
from cli.state import StateFolder
from demo.fleet import Fleet
from demo.local_aws.clients import OPERATOR_ACCOUNT
from demo.local_aws.process import AwsProcess
from demo.machines import CUSTOMER_ACCOUNT
from demo.narrator import Narrator
from libs.common import logs
from libs.common.clock import Clock
from libs.common.config import load
from libs.common.logs import LogConfig

if TYPE_CHECKING:
    from cli.embedded import Embedded

_ROLE = "cloudigrade"
_ROLE_DOCUMENTS = Path(__file__).parents[1] / "deploy" / "aws"


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and the caller's connections to it."""

    aws: AwsProcess
    fleet: Fleet
    embedded: "Embedded"
    connections: Connections
    state: StateFolder

    @classmethod
    @contextmanager
    def set_up(
        cls, folder: Path, environ: Mapping[str, str], clock: Clock, narrator: Narrator
    ) -> Iterator[Self]:
        """Start everything, the local AWS and the services side by side; stop it at the end.

        What an earlier demo left in the folder is removed. Raises StartError.
        """
        with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            state = StateFolder(folder)
            stack.enter_context(state.held())
            shutil.rmtree(folder / "postgres", ignore_errors=True)
            log = stack.enter_context(state.log.open("w", buffering=1))
            logs.configure("cloudigrade", level=load(LogConfig, environ).level, stream=log)
            with narrator.step("A local AWS with a fleet's past, and the services") as detail:
                aws = stack.enter_context(AwsProcess())
                # Here, while the local AWS starts: importing the services takes seconds.
                from cli.embedded import listening, serve_all  # noqa: PLC0415

                _lead_boto3_to(aws, stack)
                fleet = Fleet(aws, clock.now)
                past = pool.submit(fleet.act_out_the_past, detail)
                embedded = serve_all(listening(environ), folder, clock, stack)
                past.result()
                detail(f"{len(fleet.machines)} machines in {len(fleet.regions)} Regions")
            state.announce(embedded.targets)
            at = embedded.targets
            config = ClientConfig(
                accounts=at["accounts"],
                scanner=at["scanner"],
                inspector=at["inspector"],
                reports=at["reports"],
                token=embedded.token,
                state=folder,
            )
            connections = Connections(config, clock, environ)
            stack.callback(connections.close)
            yield cls(aws, fleet, embedded, connections, state)

    @property
    def role_arn(self) -> str:
        """Return the role that cloudigrade is to assume in the customer's account."""
        return f"arn:aws:iam::{CUSTOMER_ACCOUNT}:role/{_ROLE}"

    def make_role(self, external_id: str) -> None:
        """Make that role as deploy/aws describes it, for this ExternalId."""
        trust = (_ROLE_DOCUMENTS / "trust.json").read_text()
        trust = trust.replace("CLOUDIGRADE_PRINCIPAL", f"arn:aws:iam::{OPERATOR_ACCOUNT}:root")
        trust = trust.replace("EXTERNAL_ID", json.dumps(external_id)[1:-1])
        iam = self.aws.client("iam", "us-east-1", CUSTOMER_ACCOUNT)
        iam.create_role(RoleName=_ROLE, AssumeRolePolicyDocument=trust)
        iam.put_role_policy(
            RoleName=_ROLE,
            PolicyName="read",
            PolicyDocument=(_ROLE_DOCUMENTS / "policy.json").read_text(),
        )
        iam.close()


def _lead_boto3_to(aws: AwsProcess, stack: ExitStack) -> None:
    """Let boto3 in this process call the local AWS."""
    before = dict(os.environ)
    os.environ.pop("AWS_PROFILE", None)
    os.environ.update(aws.environment())

    def restore() -> None:
        os.environ.clear()
        os.environ.update(before)

    stack.callback(restore)
