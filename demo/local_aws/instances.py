"""EC2's instances: what DescribeInstances says of their past, and when they vanish."""

import copy
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceBackend, StateReason
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import filter_reservations

from demo.local_aws.clock import CLOCK, utcnow
from demo.local_aws.patches import replace, wrap

# "Terminated instances remain visible after termination (for approximately one hour)": EC2 user
# guide, "Terminate Amazon EC2 instances", read 2026-11.
_VISIBLE = timedelta(hours=1)
_SHUTDOWN = "Client.UserInitiatedShutdown"


def install() -> None:
    """Let moto keep EC2's time, and tell of stops and terminations as EC2 does."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("moto.ec2.", "moto.ebs.")) and hasattr(module, "utcnow"):
            module.utcnow = utcnow  # type: ignore[attr-defined]  # just asked
    wrap(Instance, __init__=_with_image, start=_starting, stop=_stopping, terminate=_terminating)
    replace(Instance, setup_defaults=_setup_disks, cpu_options=property(_cpu_options))
    wrap(InstanceBackend, run_instances=_of_known_image, modify_instance_attribute=_modifying)
    replace(InstanceBackend, all_reservations=_all_reservations)
    wrap(InstanceResponse, run_instances=_with_cpu_options)


def _with_image(init: Any) -> Any:
    """Take over from the image what an instance keeps for its life: its billing codes."""

    def initialise(self: Any, ec2_backend: Any, image_id: str, *given: Any, **named: Any) -> None:
        init(self, ec2_backend, image_id, *given, **named)
        [image] = ec2_backend.describe_images(ami_ids=[self.image_id])
        self.platform_details = image.platform_details
        self.usage_operation = image.usage_operation
        self.usage_operation_update_time = self.launch_time
        self.image_mappings = image.block_device_mappings
        self.chosen_cpu_options = None
        self.terminated_at = None

    return initialise


def _setup_disks(self: Any) -> None:
    """Make the volumes that the image's snapshots ask for."""
    for mapping in self.image_mappings:
        disk = mapping["Ebs"]
        volume = self.ec2_backend.create_volume(
            size=disk["VolumeSize"], zone_name=self.placement.zone
        )
        volume.snapshot_id = disk["SnapshotId"]
        self.ec2_backend.attach_volume(
            volume.id, self.id, mapping["DeviceName"], disk["DeleteOnTermination"]
        )


def _starting(start: Any) -> Any:
    """Start what is stopped; LaunchTime is the time of the last start."""

    def starting(self: Any) -> Any:
        previous = copy.copy(self._state)
        if previous.name == "terminated":
            raise _not_in_state(self, "started")
        if previous.name == "stopped":
            start(self)
            self.launch_time = utcnow()
        return previous

    return starting


def _stopping(stop: Any) -> Any:
    """Stop what runs, with the time in the reason."""

    def stopping(self: Any) -> Any:
        previous = copy.copy(self._state)
        if previous.name == "terminated":
            raise _not_in_state(self, "stopped")
        if previous.name != "stopped":
            stop(self)
            _give_reason(self)
        return previous

    return stopping


def _terminating(terminate: Any) -> Any:
    """Terminate what is not terminated yet, with the time in the reason."""

    def terminating(self: Any) -> Any:
        previous = copy.copy(self._state)
        if previous.name != "terminated":
            terminate(self)
            _give_reason(self)
            self.terminated_at = CLOCK.now()
        return previous

    return terminating


def _give_reason(instance: Any) -> None:
    instance._reason = f"User initiated ({CLOCK.now():%Y-%m-%d %H:%M:%S} GMT)"  # noqa: SLF001
    instance.state_reason = StateReason(f"{_SHUTDOWN}: User initiated shutdown", _SHUTDOWN)


def _not_in_state(instance: Any, what: str) -> Exception:
    error: Exception = EC2ClientError(
        "IncorrectInstanceState",
        f"The instance '{instance.id}' is not in a state from which it can be {what}.",
    )
    return error


def _of_known_image(run_instances: Any) -> Any:
    """Refuse images that do not exist or are not shared: InvalidAMIID.NotFound."""

    def running(self: Any, image_id: str, *given: Any, **named: Any) -> Any:
        if image_id:
            self.describe_images(ami_ids=[image_id])
        return run_instances(self, image_id, *given, **named)

    return running


def _cpu_options(self: Any) -> dict[str, int]:
    processors = INSTANCE_TYPES.get(self.instance_type, {}).get("VCpuInfo", {})
    default = {
        "CoreCount": processors.get("DefaultCores", 1),
        "ThreadsPerCore": processors.get("DefaultThreadsPerCore", 1),
    }
    return self.chosen_cpu_options or default


def _with_cpu_options(run_instances: Any) -> Any:
    def answer(self: Any) -> Any:
        result = run_instances(self)
        for instance in result.result.instances:
            instance.chosen_cpu_options = self._get_param("CpuOptions")
        return result

    return answer


def _modifying(modify: Any) -> Any:
    """Change an instance's type only while it is stopped; its CPU options become the type's."""

    def modifying(self: Any, instance_id: str, key: str, value: Any) -> Any:
        instance = self.get_instance(instance_id)
        if key == "instance_type":
            if instance.state != "stopped":
                raise EC2ClientError(
                    "IncorrectInstanceState",
                    f"The instance '{instance_id}' is not in the 'stopped' state.",
                )
            instance.chosen_cpu_options = None
        return modify(self, instance_id, key, value)

    return modifying


def _all_reservations(self: Any, filters: Any = None) -> list[Any]:
    shown = list(_with_visible_instances(self))
    found: list[Any] = filter_reservations(shown, filters) if filters is not None else shown
    return found


def _with_visible_instances(backend: Any) -> Iterator[Any]:
    now = CLOCK.now()
    for reservation in list(backend.reservations.values()):
        visible = copy.copy(reservation)
        visible.instances = [
            each
            for each in reservation.instances
            if each.terminated_at is None or now - each.terminated_at <= _VISIBLE
        ]
        if visible.instances:
            yield visible
