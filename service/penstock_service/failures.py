"""Why the service ends by itself."""

EXIT_FAILURE = 1


class ServiceFailed(RuntimeError):
    """The service cannot go on; it ends with EXIT_FAILURE."""


class EngineFailed(ServiceFailed):
    """The engine did not start, hung or stopped by itself."""
