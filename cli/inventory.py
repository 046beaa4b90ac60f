"""`cloudigrade inventory`: what is known of an account's instances and images."""

from typing import Annotated

import typer

from cli.accounts import AccountArgument
from cli.connection import CALL, Connections
from cli.images import authority_of, decided, evidence, inspection_of, license_of
from cli.output import Column, Format, FormatOption
from cli.paging import all_pages
from cli.times import AsOfOption, as_of
from cloudigrade.accounts.v1.inventory_pb2 import (
    GetImageRequest,
    Image,
    Instance,
    ListImagesRequest,
    ListInstancesRequest,
)

inventory = typer.Typer(help="Instances and images of an account.", no_args_is_help=True)

_INSTANCE_COLUMNS = (
    *(Column("instance"), Column("name"), Column("Region"), Column("type"), Column("image")),
    Column("state"),
)
_IMAGE_COLUMNS = (
    *(Column("image"), Column("name"), Column("distribution"), Column("version")),
    *(Column("because of"), Column("license"), Column("inspection"), Column("reason")),
)


@inventory.command("instances")
def instances(
    context: typer.Context,
    account: AccountArgument,
    known: AsOfOption = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """List the instances of an account."""
    connections: Connections = context.obj
    asked, stub = as_of(known), connections.inventory()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListInstances(
                    ListInstancesRequest(
                        account_id=account, page_size=1000, page_token=token, as_of=asked
                    ),
                    timeout=CALL,
                ),
                lambda answer: answer.instances,
            )
        )
    connections.output(output).messages(found, _INSTANCE_COLUMNS, _instance_row)


@inventory.command("images")
def images(
    context: typer.Context,
    account: AccountArgument,
    known: AsOfOption = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """List the images of an account: what each is, and how far its inspection is."""
    connections: Connections = context.obj
    asked, stub = as_of(known), connections.inventory()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListImages(
                    ListImagesRequest(
                        account_id=account, page_size=1000, page_token=token, as_of=asked
                    ),
                    timeout=CALL,
                ),
                lambda answer: answer.images,
            )
        )
    connections.output(output).messages(found, _IMAGE_COLUMNS, _image_row)


@inventory.command("image")
def image(
    context: typer.Context,
    account: AccountArgument,
    image_id: Annotated[str, typer.Argument(help="Its id, such as ami-0123456789abcdef0.")],
    known: AsOfOption = "",
    output: FormatOption = Format.AUTO,
) -> None:
    """Show what one image is and why: installed, billed, published, and all evidence."""
    connections: Connections = context.obj
    asked, stub = as_of(known), connections.inventory()
    with connections.errors(connections.config.accounts):
        found = stub.GetImage(
            GetImageRequest(account_id=account, image_id=image_id, as_of=asked), timeout=CALL
        ).image
    shown = connections.output(output)
    shown.message(found, lambda: decided(found))
    shown.line("")
    shown.table(evidence(found))


def _instance_row(instance: Instance) -> list[str]:
    return [
        *(instance.instance_id, instance.tags.get("Name", ""), instance.region),
        *(instance.instance_type, instance.image_id, instance.state),
    ]


def _image_row(image: Image) -> list[str]:
    found = image.classification
    return [
        *(image.description.image_id, image.description.name, found.distribution, found.version),
        *(authority_of(found.distribution_authority), license_of(found), inspection_of(image)),
        image.inspection.reason,
    ]
