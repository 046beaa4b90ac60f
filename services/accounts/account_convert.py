"""Cloud accounts, to protobuf."""

from google.protobuf.timestamp_pb2 import Timestamp

from cloudigrade.accounts.v1 import accounts_pb2
from libs.common.instants import Micros
from libs.common.timestamps import timestamp
from services.accounts.cloud_accounts import CloudAccount, RegionStatus, State, Verification


def state_to_proto(state: State) -> str:
    """Return the name that the proto has for a state."""
    return f"STATE_{state.name}"


def account_to_proto(account: CloudAccount) -> accounts_pb2.CloudAccount:
    """Return an account's message."""
    return accounts_pb2.CloudAccount(
        id=account.id,
        name=account.name,
        aws_account_id=account.aws_account_id,
        partition=account.partition,
        role_arn=account.role_arn,
        external_id=account.external_id,
        state=state_to_proto(account.state),
        owner_id=account.owner_id,
        create_time=timestamp(account.created_at),
        verify_time=moment(account.verified_at),
        verification=_verification(account.verification),
        last_scan_time=moment(account.last_scan_at),
        regions=map(region_to_proto, account.regions),
    )


def region_to_proto(status: RegionStatus) -> accounts_pb2.RegionStatus:
    """Return the message of what is known about a Region."""
    return accounts_pb2.RegionStatus(
        region=status.region,
        confirmed_through=moment(status.confirmed_through),
        last_listing_time=moment(status.last_listing_at),
        trouble=status.trouble,
        trouble_since=moment(status.trouble_since),
    )


def moment(micros: Micros) -> Timestamp | None:
    """Return the Timestamp of an instant, None for 0, which stands for none."""
    return timestamp(micros) if micros else None


def _verification(found: Verification) -> accounts_pb2.Verification | None:
    if not found.at:
        return None
    return accounts_pb2.Verification(
        time=timestamp(found.at),
        verified=found.verified,
        detail=found.detail,
        missing_permissions=found.missing_permissions,
    )
