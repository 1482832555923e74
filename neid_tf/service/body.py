"""Reading what a client sends, within bounds of size, memory and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from neid_tf.service.errors import GONE, Refused

_HELD = 8  # bodies of the largest size that are held at a time, all requests together
_FIELDS, _LONGEST_FIELD = 8, 1024
READ = "neid_read"
"""The name, in a request's scope, of the event that says that its body was read whole."""
_DRAINED, _DRAIN_SECONDS = 4, 10.0  # what is read after a refusal: largest bodies, seconds


class Bodies:
    """Reads bodies; all that are held at a time have a bound together.

    Args:
        max_bytes: the largest body taken.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.held = max_bytes, 0

    def check(self, request: Request) -> None:
        """Refuse a body that is announced too large, before any of it is read.

        Raises:
            Refused: where it is.
        """
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.max_bytes:
            raise self._too_large()

    def _too_large(self):
        return Refused(413, f"the body is larger than {self.max_bytes} bytes")

    @contextlib.contextmanager
    def room(self) -> Iterator[_Room]:
        """Give room for one body, which lasts as long as its content is needed."""
        room = _Room(self)
        try:
            yield room
        finally:
            self.held -= room.taken

    def take(self, room: _Room, size: int) -> None:
        """Note that more is held.

        Raises:
            Refused: where that is too much.
        """
        room.taken += size
        self.held += size
        if room.taken > self.max_bytes:
            raise self._too_large()
        if self.held > _HELD * self.max_bytes:
            raise Refused(429, "too much is being sent at a time", 1)


class _Room:
    """What one request holds of the bound of all."""

    def __init__(self, bodies: Bodies) -> None:
        self.bodies, self.taken = bodies, 0

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        async for chunk in request.stream():
            self.bodies.take(self, len(chunk))
            yield chunk

    async def read(self, request: Request, seconds: float) -> tuple[bytes, list[tuple[str, str]]]:
        """Read the picture and the parameters of a request.

        Args:
            request: its body is the picture, or a form (multipart/form-data) with the picture as
                its only file.
            seconds: that it may take.

        Raises:
            Refused: where it is too large, too slow, empty, or no such form; or the client is gone.
        """
        try:
            content, fields = await asyncio.wait_for(self._read(request), seconds)
        except asyncio.TimeoutError:
            raise Refused(408, "the body did not arrive in time") from None
        except ClientDisconnect:
            raise Refused(GONE, "the client went away") from None
        except (MultiPartException, HTTPException) as error:
            reason = getattr(error, "message", None) or getattr(error, "detail", "")
            raise Refused(400, f"not a sound form: {reason}") from None
        if not content:
            raise Refused(400, "the body is empty: send a picture")
        return content, [*request.query_params.multi_items(), *fields]

    async def _read(self, request):
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            return b"".join([chunk async for chunk in self._chunks(request)]), []
        return await self._form(request)

    async def _form(self, request):
        parser = MultiPartParser(
            request.headers,
            self._chunks(request),
            max_files=1,
            max_fields=_FIELDS,
            max_part_size=_LONGEST_FIELD,
        )
        parser.spool_max_size = self.bodies.max_bytes + 1  # Nothing of it goes to the disk.
        form = await parser.parse()
        uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        fields = [pair for pair in form.multi_items() if isinstance(pair[1], str)]
        if not uploads:
            raise Refused(400, "the form has no file in it")
        return await uploads[0].read(), fields


async def disconnected(request: Request) -> None:
    """Wait until a client, whose body was read, is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def send_and_drain(
    scope: Scope, receive: Receive, send: Send, start: dict, body: bytes, most: int
) -> None:
    """Answer a request whose body may not have been read whole, so that its client gets the answer.

    Were the connection closed while the client sends, it would find it broken, and might not
    look for an answer.

    Args:
        scope, receive, send: of the request.
        start: the message that begins the answer.
        body: of the answer.
        most: the largest body taken, in bytes.
    """
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": True})
    expected = dict(scope["headers"]).get(b"expect", b"").lower()
    if not scope[READ].is_set() and b"100-continue" not in expected:
        # It has its answer, also where the service ends meanwhile.
        with contextlib.suppress(asyncio.TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(_drained(receive, _DRAINED * most), _DRAIN_SECONDS)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drained(receive, most):
    while most > 0:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
        most -= len(message.get("body", b""))
