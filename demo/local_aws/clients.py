"""Clients of a local AWS, whether it runs in this process or in another."""

import os
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from botocore.session import Session

from demo.local_aws.moment import Moment
from libs.common.identifiers import partition_of

OPERATOR_ACCOUNT = "111111111111"
REGIONS = ("us-east-1", "us-east-2", "eu-west-1")
DISABLED_REGIONS = ("af-south-1",)


class Key(NamedTuple):
    """An access key of the local AWS; no secret, since nothing is behind it."""

    key_id: str
    secret: str


class Clients(ABC):
    """Gives clients of accounts' administrators."""

    def __init__(self) -> None:
        self._session = Session()

    @property
    @abstractmethod
    def url(self) -> str:
        """Return what AWS_ENDPOINT_URL should be. RuntimeError while it does not run."""

    @abstractmethod
    def access_key(self, account_id: str, partition: str = "aws") -> Key:
        """Make an access key that may do anything in an account."""

    def environment(self, account_id: str = OPERATOR_ACCOUNT) -> dict[str, str]:
        """Return the environment in which boto3 calls this AWS, as an account's administrator."""
        key = self.access_key(account_id)
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": key.key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_DEFAULT_REGION": REGIONS[0],
            # What the machine's user has configured for the real AWS stays out of this.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, region: str, account_id: str, at: Moment | None = None) -> Any:
        """Return a client of an account's administrator, whose requests happen `at` a time."""
        key = self.access_key(account_id, partition_of(region))
        client = self._session.create_client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=key.key_id,
            aws_secret_access_key=key.secret,
        )
        if at is not None:
            client.meta.events.register("before-call", at.add_header)
        return client
