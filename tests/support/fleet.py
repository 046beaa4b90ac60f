"""Instances in the local AWS, whose past is acted out at given times."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.support.local_aws import CUSTOMER

if TYPE_CHECKING:
    from demo.local_aws.server import LocalAws


class Fleet:
    """One account's instances in one Region of the local AWS."""

    def __init__(self, aws: "LocalAws", region: str, account_id: str = CUSTOMER) -> None:
        self.region = region
        self._aws = aws
        self._account_id = account_id

    def register(self, name: str, **image: Any) -> str:
        """Register an image and return its id."""
        answer = self._ec2().register_image(Name=name, Architecture="x86_64", **image)
        return str(answer["ImageId"])

    def deregister(self, image_id: str) -> None:
        """Take an image away; its instances stay."""
        self._ec2().deregister_image(ImageId=image_id)

    def launch(self, image_id: str, at: datetime, **launch: Any) -> str:
        """Launch one instance at a time, and return its id."""
        given = {"InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1} | launch
        answer = self._ec2(at).run_instances(ImageId=image_id, **given)
        return str(answer["Instances"][0]["InstanceId"])

    def stop(self, instance_id: str, at: datetime) -> None:
        """Stop an instance at a time."""
        self._ec2(at).stop_instances(InstanceIds=[instance_id])

    def start(self, instance_id: str, at: datetime) -> None:
        """Start an instance again at a time."""
        self._ec2(at).start_instances(InstanceIds=[instance_id])

    def terminate(self, instance_id: str, at: datetime) -> None:
        """Terminate an instance at a time."""
        self._ec2(at).terminate_instances(InstanceIds=[instance_id])

    def _ec2(self, at: datetime | None = None) -> Any:
        # Here and not above: importing moto takes seconds, and few tests need it.
        from demo.local_aws.moment import Moment  # noqa: PLC0415

        moment = None if at is None else Moment(at)
        return self._aws.client("ec2", self.region, self._account_id, moment)
