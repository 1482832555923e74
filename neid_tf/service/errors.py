"""Why a request is not answered with a picture."""

from __future__ import annotations

from collections.abc import Mapping

from neid_tf.support.errors import NeidError


class Refused(NeidError):
    """A request that gets no picture; the message says why.

    Args:
        status: the status of HTTP.
        message: one line.
        retry_after: seconds after which another try may help, or None.
        headers: that belong to it, beside that.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)


GONE = 499
"""What the log says of a client that went away; nobody gets it."""
