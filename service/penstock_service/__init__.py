"""The Penstock service: text generation over gRPC."""

__version__ = "0.1.0"
