"""`cloudigrade inventory`: what is known of an account's instances and images."""

import typer

from cli.accounts import AccountArgument
from cli.connection import CALL, Connections
from cli.output import Column, Format, FormatOption
from cli.paging import all_pages
from cloudigrade.accounts.v1.inventory_pb2 import (
    Image,
    Inspection,
    Instance,
    LicenseModel,
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
    *(Column("license"), Column("inspection"), Column("reason")),
)


@inventory.command("instances")
def instances(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """List the instances of an account."""
    connections: Connections = context.obj
    stub = connections.inventory()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListInstances(
                    ListInstancesRequest(account_id=account, page_size=1000, page_token=token),
                    timeout=CALL,
                ),
                lambda answer: answer.instances,
            )
        )
    connections.output(output).messages(found, _INSTANCE_COLUMNS, _instance_row)


@inventory.command("images")
def images(
    context: typer.Context, account: AccountArgument, output: FormatOption = Format.AUTO
) -> None:
    """List the images of an account: what each is, and how far its inspection is."""
    connections: Connections = context.obj
    stub = connections.inventory()
    with connections.errors(connections.config.accounts):
        found = list(
            all_pages(
                lambda token: stub.ListImages(
                    ListImagesRequest(account_id=account, page_size=1000, page_token=token),
                    timeout=CALL,
                ),
                lambda answer: answer.images,
            )
        )
    connections.output(output).messages(found, _IMAGE_COLUMNS, _image_row)


def _instance_row(instance: Instance) -> list[str]:
    return [
        *(instance.instance_id, instance.tags.get("Name", ""), instance.region),
        *(instance.instance_type, instance.image_id, instance.state),
    ]


def _image_row(image: Image) -> list[str]:
    found = image.classification
    license_model = LicenseModel.Name(found.license_model).removeprefix("LICENSE_MODEL_").lower()
    state = Inspection.State.Name(image.inspection.state).removeprefix("STATE_").lower()
    return [
        *(image.description.image_id, image.description.name, found.distribution, found.version),
        *(license_model, state if image.HasField("inspection") else "none wanted"),
        image.inspection.reason,
    ]
