"""The Penstock service: text generation over gRPC."""

import os

# Before gRPC is imported, which else prepares for forks: while it is busy, one in four processes that the service
# starts (the compiler of constraints, front ends) crashes in gRPC's handlers before it begins (grpcio 1.83 with uvloop,
# whose processes begin with a fork). None of them goes on with its parent's gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

__version__ = "0.1.0"
