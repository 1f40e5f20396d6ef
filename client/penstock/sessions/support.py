"""What a channel has learned about its server."""


class Support:
    """Whether the server has sessions. An older one has not; what is not known yet is tried."""

    __slots__ = ("missing",)

    def __init__(self) -> None:
        self.missing = False
