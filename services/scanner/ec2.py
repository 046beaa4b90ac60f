"""Reading EC2 in one cloud account, through the account's own role."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from libs.common.aws import AccountSession
from libs.common.aws_errors import AwsError, classified
from libs.common.clock import Clock
from services.scanner import ec2_answers
from services.scanner.instances import Image, Instance, InstanceType
from services.scanner.listing import Listing, Region, Survey

if TYPE_CHECKING:  # stubs that only development installs
    from mypy_boto3_ec2 import EC2Client

_PAGE_SIZE = 1000  # the most that DescribeInstances gives
_IMAGE_BATCH = 100
_TYPE_BATCH = 100  # the most that DescribeInstanceTypes takes
_IMAGE_ID = re.compile(r"ami-[0-9a-f]+")
_TYPE_NAME = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
_NO_SUCH_IMAGE = {"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidAMIID.Malformed"}
_NO_SUCH_TYPE = {"InvalidInstanceType", "InvalidInstanceType.NotFound"}

Answer = TypeVar("Answer")


class Ec2:
    """EC2 as one account sees it. Methods raise AwsError when AWS does not answer them whole."""

    def __init__(self, session: AccountSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    def regions(self) -> tuple[Region, ...]:
        """Return every Region of the account's partition."""
        home = self._session.home_region
        with self._classified(home):
            answer = self._client(home).describe_regions(AllRegions=True)
            return tuple(ec2_answers.region(found) for found in answer["Regions"])

    def survey(self, region: str, known_images: Collection[str] = ()) -> Survey:
        """Read all instances of the Region, and describe their types and the images not yet known.

        Images and types that cannot be described make no listing incomplete: they are its gaps.
        """
        listing = self.listing(region)
        images: tuple[Image, ...] = ()
        types: tuple[InstanceType, ...] = ()
        gaps: list[str] = []
        try:
            images = self.images(region, listing.image_ids() - set(known_images))
        except AwsError as error:
            gaps.append(error.message)
        try:
            types = self.instance_types(region, listing.instance_types())
        except AwsError as error:
            gaps.append(error.message)
        return Survey(listing, images, types, tuple(gaps))

    def listing(self, region: str) -> Listing:
        """Read all instances of the Region; one that two pages show counts as the later says."""
        started = self._clock.now()
        with self._classified(region):
            pages = self._client(region).get_paginator("describe_instances")
            found: dict[str, Instance] = {}
            for page in pages.paginate(PaginationConfig={"PageSize": _PAGE_SIZE}):
                found |= {shown.instance_id: shown for shown in ec2_answers.instances(page)}
        return Listing(region, started, tuple(found.values()))

    def images(self, region: str, image_ids: Iterable[str]) -> tuple[Image, ...]:
        """Describe the images; one that is deregistered or not ours to see is `unavailable`."""

        def ask(batch: Sequence[str]) -> list[Image]:
            answer = self._client(region).describe_images(
                ImageIds=batch, IncludeDeprecated=True, IncludeDisabled=True
            )
            return [ec2_answers.image(found) for found in answer["Images"]]

        wanted = sorted(set(image_ids))
        with self._classified(region):
            found = list(_known(ask, _batches(wanted, _IMAGE_BATCH), _NO_SUCH_IMAGE, _IMAGE_ID))
        seen = {image.image_id for image in found}
        lost = (Image(asked, state="unavailable") for asked in wanted if asked not in seen)
        return (*found, *lost)

    def instance_types(self, region: str, names: Iterable[str]) -> tuple[InstanceType, ...]:
        """Describe the instance types; those that the Region does not know are left out."""

        def ask(batch: Sequence[str]) -> list[InstanceType]:
            # The stub wants literals of the types that its own version knows.
            answer = self._client(region).describe_instance_types(
                InstanceTypes=batch  # type: ignore[arg-type]
            )
            return [ec2_answers.instance_type(found) for found in answer["InstanceTypes"]]

        batches = _batches(sorted(set(names)), _TYPE_BATCH)
        with self._classified(region):
            return tuple(_known(ask, batches, _NO_SUCH_TYPE, _TYPE_NAME))

    def _client(self, region: str) -> "EC2Client":
        return self._session.client("ec2", region)

    def _classified(self, region: str) -> AbstractContextManager[None]:
        return classified("ec2", region, home_region=self._session.home_region)


def _known(
    ask: Callable[[Sequence[str]], list[Answer]],
    batches: list[Sequence[str]],
    unknown_codes: set[str],
    name: re.Pattern[str],
) -> Iterator[Answer]:
    """Yield the answers for the names that EC2 knows.

    One unknown name fails its whole batch, so those that the message names are left out and the
    rest is asked again; a batch whose message names none of them is asked by halves.
    """
    while batches:
        batch = batches.pop()
        try:
            yield from ask(batch)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in unknown_codes:
                raise
            unknown = set(name.findall(str(error)))
            rest = [asked for asked in batch if asked not in unknown]
            if len(rest) < len(batch):
                rests = [rest]
            else:
                rests = [rest[: len(rest) // 2], rest[len(rest) // 2 :]] if len(rest) > 1 else []
            batches.extend(found for found in rests if found)


def _batches(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]
