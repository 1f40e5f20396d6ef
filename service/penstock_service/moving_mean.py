"""Means over what came last. Pure."""

# Of the newest against the mean of those before, as TCP weighs round trips (RFC 6298): the last twenty or so count, and
# one odd one moves the mean little.
_WEIGHT = 1 / 8


class MovingMean:
    """The mean of one thing, none of it negative."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float | None = None

    def add(self, newest: float) -> None:
        """Count another."""
        newest = max(newest, 0.0)
        self.value = newest if self.value is None else self.value + _WEIGHT * (newest - self.value)


class MovingLine:
    """How one thing grows with another: the line through the last ones with the least squares, never falling.

    Where they differ in x by about `least_spread` or less, they tell their mean rather than how it grows.
    """

    __slots__ = ("_least_variance", "_mean_x", "_mean_y", "_spread", "_together")

    def __init__(self, least_spread: float) -> None:
        self._least_variance = least_spread**2
        self._mean_x = 0.0
        self._mean_y: float | None = None
        self._spread = 0.0  # the variance of x
        self._together = 0.0  # the covariance

    def add(self, x: float, y: float) -> None:
        """Count another."""
        y = max(y, 0.0)
        if self._mean_y is None:
            self._mean_x, self._mean_y = x, y
            return
        off_x, off_y = x - self._mean_x, y - self._mean_y
        self._mean_x += _WEIGHT * off_x
        self._mean_y += _WEIGHT * off_y
        self._spread = (1 - _WEIGHT) * (self._spread + _WEIGHT * off_x * off_x)
        self._together = (1 - _WEIGHT) * (self._together + _WEIGHT * off_x * off_y)

    def at(self, x: float) -> float | None:
        """What to expect; None while there has been nothing."""
        if self._mean_y is None:
            return None
        slope = max(self._together / (self._spread + self._least_variance), 0.0)
        return max(self._mean_y + slope * (x - self._mean_x), 0.0)
