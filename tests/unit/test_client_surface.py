"""The public names, and what importing them costs."""

import subprocess
import sys

import penstock
from penstock.channel_options import CHANNEL_OPTIONS, channel_options


def test_all_names_what_is_public() -> None:
    public = [
        name
        for name, value in vars(penstock).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("penstock")
    ]

    assert sorted(penstock.__all__) == sorted([*public, "__version__"])
    assert penstock.__all__ == sorted(penstock.__all__)


def test_importing_the_client_imports_grpc_and_protobuf_only() -> None:
    code = "import sys; before = set(sys.modules); import penstock; print(*sorted(set(sys.modules) - before))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    outside = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    # grpc itself looks for its companions, and Cython's modules name themselves.
    foreign = {name for name in outside if not name.startswith(("grpc_", "_cython", "cython_"))}
    assert foreign <= {"penstock", "grpc", "google", "typing_extensions"}


def test_a_users_channel_option_replaces_ours_by_name() -> None:
    options = dict(channel_options({"grpc.keepalive_time_ms": 1, "my.option": 2}))

    assert options["grpc.keepalive_time_ms"] == 1
    assert options["my.option"] == 2
    assert options["grpc.enable_http_proxy"] == 0
    assert len(options) == len(CHANNEL_OPTIONS) + 1


def test_options_may_be_pairs_too_and_no_name_comes_twice() -> None:
    options = channel_options([("grpc.keepalive_time_ms", 1)])

    names = [name for name, _ in options]
    assert len(names) == len(set(names))
    assert ("grpc.keepalive_time_ms", 1) in options
