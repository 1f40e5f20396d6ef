"""The Penstock service: text generation over gRPC."""

import os

# Before gRPC is imported, which else prepares for forks: while it is busy, one in four processes that are started
# through uvloop, which forks, crashes in gRPC's handlers before it begins (grpcio 1.83). The compiler of constraints
# is one. Nothing that the service starts goes on with its gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

__version__ = "0.1.0"
