"""Compiles protos/ into the wheel, so that generated code is never checked in."""

from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import grpc_tools
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface[Any]):
    """Adds the modules generated from protos/ to a wheel and to an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile every proto; the build copies what `force_include` names."""
        protos = Path(self.root, "protos")
        files = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
        out = Path(mkdtemp(prefix="cloudigrade-protos-"))
        self._generated = out
        with TemporaryDirectory() as scratch:
            # By way of a descriptor set: protoc's one-step output drops the JSON names that
            # reflection shows to clients.
            descriptors = f"{scratch}/protos.binpb"
            self._protoc(
                f"-I{protos}",
                f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
                "--include_imports",
                "--include_source_info",
                f"--descriptor_set_out={descriptors}",
                *files,
            )
            self._protoc(
                f"--descriptor_set_in={descriptors}",
                f"--python_out={out}",
                f"--pyi_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_grpc_out={out}",
                *files,
            )
        (out / "cloudigrade" / "py.typed").touch()
        generated = {str(p): str(p.relative_to(out)) for p in sorted(out.rglob("*")) if p.is_file()}
        build_data["force_include"].update(generated)
        build_data["force_include_editable"] = generated

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the generated files once the wheel holds them."""
        for path in sorted(self._generated.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self._generated.rmdir()

    @staticmethod
    def _protoc(*arguments: str) -> None:
        if protoc.main(["protoc", *arguments]) != 0:
            raise RuntimeError("protoc failed: its messages stand above")
