"""AccountService: the cloud accounts that are watched."""

from collections.abc import Callable

import grpc

from cloudigrade.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from libs.common.checks import Checks
from libs.common.clock import Clock
from libs.common.errors import PermissionDenied
from libs.common.identifiers import RoleArn, uuid
from libs.common.identity import USER, Access, current_user
from services.accounts import cloud_accounts
from services.accounts.account_convert import account_to_proto
from services.accounts.account_store import AccountStore
from services.accounts.callers import EVERYBODY, author, request_key, visible_owner
from services.accounts.cloud_accounts import State
from services.accounts.pages import page

ACCESS: dict[str, Access] = {
    "CreateCloudAccount": USER,
    "GetCloudAccount": USER,
    "ListCloudAccounts": USER,
    "UpdateCloudAccount": USER,
    "EnableCloudAccount": USER,
    "PauseCloudAccount": USER,
    "DisableCloudAccount": USER,
    "DeleteCloudAccount": USER,
}
_CHANGEABLE = ("name", "role_arn", "owner_id")


class AccountServicer(accounts_pb2_grpc.AccountServiceServicer):
    """Answers for the store; `new_external_id` makes ExternalIds."""

    def __init__(
        self,
        store: AccountStore,
        clock: Clock,
        new_external_id: Callable[[], str] = cloud_accounts.new_external_id,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_external_id = new_external_id

    def CreateCloudAccount(
        self, request: accounts_pb2.CreateCloudAccountRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.CreateCloudAccountResponse:
        """Register an account."""
        checks = Checks()
        name = checks.parsed("name", cloud_accounts.account_name, request.name)
        role = checks.parsed("role_arn", RoleArn.parse, request.role_arn)
        request_id = (
            checks.parsed("request_id", uuid, request.request_id) if request.request_id else ""
        )
        checks.finish()
        account = self._store.create(
            name,
            role,
            self._new_external_id(),
            current_user().id,
            author(self._clock),
            request_key(request, request_id),
        )
        return accounts_pb2.CreateCloudAccountResponse(account=account_to_proto(account))

    def GetCloudAccount(
        self, request: accounts_pb2.GetCloudAccountRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.GetCloudAccountResponse:
        """Give one account with its Regions."""
        account = self._store.account(request.id, visible_owner())
        return accounts_pb2.GetCloudAccountResponse(account=account_to_proto(account))

    def ListCloudAccounts(
        self, request: accounts_pb2.ListCloudAccountsRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.ListCloudAccountsResponse:
        """Give a page of the caller's accounts."""
        owner = visible_owner()
        found = page(
            request,
            (int,),
            lambda after, limit: self._store.accounts(
                owner, after, limit, deleted=request.show_deleted
            ),
            lambda account: (account.id,),
            account_to_proto,
        )
        return accounts_pb2.ListCloudAccountsResponse(
            accounts=found.items, next_page_token=found.next_token
        )

    def UpdateCloudAccount(
        self, request: accounts_pb2.UpdateCloudAccountRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.UpdateCloudAccountResponse:
        """Change an account's name or role, or whose it is."""
        asked = request.account
        old = self._store.account(asked.id, visible_owner())
        masked = request.HasField("update_mask")
        paths = (
            list(request.update_mask.paths)
            if masked
            else [path for path in _CHANGEABLE if getattr(asked, path)]
        )
        checks = Checks()
        checks.that(
            set(paths) <= set(_CHANGEABLE), "update_mask", f"names only {', '.join(_CHANGEABLE)}"
        )
        name = (
            checks.parsed("account.name", cloud_accounts.account_name, asked.name)
            if "name" in paths
            else None
        )
        role = (
            checks.parsed("account.role_arn", cloud_accounts.role_of(old), asked.role_arn)
            if "role_arn" in paths
            else None
        )
        checks.that(
            "owner_id" not in paths or asked.owner_id > 0, "account.owner_id", "is a user's id"
        )
        checks.finish()
        if "owner_id" in paths and visible_owner() != EVERYBODY:
            raise PermissionDenied(
                "Only an admin may give an account to another user.", reason="ADMIN_ONLY"
            )
        account = self._store.update(
            asked.id,
            visible_owner(),
            author(self._clock),
            name=name,
            role_arn=None if role is None else str(role),
            owner_id=asked.owner_id if "owner_id" in paths else None,
        )
        return accounts_pb2.UpdateCloudAccountResponse(account=account_to_proto(account))

    def EnableCloudAccount(
        self, request: accounts_pb2.EnableCloudAccountRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.EnableCloudAccountResponse:
        """Take up scanning again."""
        account = self._moved(request.id, cloud_accounts.enabled)
        return accounts_pb2.EnableCloudAccountResponse(account=account)

    def PauseCloudAccount(
        self, request: accounts_pb2.PauseCloudAccountRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.PauseCloudAccountResponse:
        """Stop scanning for a while."""
        account = self._moved(request.id, cloud_accounts.paused)
        return accounts_pb2.PauseCloudAccountResponse(account=account)

    def DisableCloudAccount(
        self, request: accounts_pb2.DisableCloudAccountRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.DisableCloudAccountResponse:
        """Stop all work for the account."""
        account = self._moved(request.id, cloud_accounts.disabled)
        return accounts_pb2.DisableCloudAccountResponse(account=account)

    def DeleteCloudAccount(
        self, request: accounts_pb2.DeleteCloudAccountRequest, context: grpc.ServicerContext
    ) -> accounts_pb2.DeleteCloudAccountResponse:
        """Remove an account, with or without its history."""
        keep = request.history == accounts_pb2.HISTORY_KEEP
        checks = Checks()
        checks.that(
            keep or request.history == accounts_pb2.HISTORY_ERASE,
            "history",
            "is HISTORY_KEEP or HISTORY_ERASE",
        )
        checks.finish()
        forget = self._store.remove if keep else self._store.erase
        forget(request.id, visible_owner(), author(self._clock))
        return accounts_pb2.DeleteCloudAccountResponse()

    def _moved(
        self, account_id: int, transition: Callable[[State], State]
    ) -> accounts_pb2.CloudAccount:
        return account_to_proto(
            self._store.move(account_id, visible_owner(), author(self._clock), transition)
        )
