"""Why a request is not answered with a picture."""

from __future__ import annotations

from neid_tf.support.errors import NeidError


class Refused(NeidError):
    """A request that gets no picture; the message says why.

    Args:
        status: the status of HTTP.
        message: one line.
        retry_after: seconds after which another try may help, or None.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


GONE = 499
"""What the log says of a client that went away; nobody gets it."""
