"""Who may talk to the page, and what its log says of those who talk nonsense."""

from __future__ import annotations

import sys
import types
from collections.abc import Awaitable, Callable, Collection, MutableMapping

from neid_tf.support import hosts

_LONGEST = 200


class Guard:
    """ASGI middleware that refuses foreign hosts and origins, and survives its clients' mistakes.

    See :func:`neid_tf.support.hosts.refusal`.

    Args:
        app: the application behind it.
        names: that the page may be asked for, beside addresses and names of this machine.
    """

    def __init__(self, app: Callable, names: Collection[str] = ()) -> None:
        self.app, self.names = app, hosts.own_names() | {name.lower() for name in names}

    async def __call__(
        self, scope: MutableMapping, receive: Callable, send: Callable[[dict], Awaitable[None]]
    ) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif reason := hosts.refusal(dict(scope["headers"]), self.names):
            await _answer(send, 403, reason)
        else:
            await self._handed_on(scope, receive, send)

    async def _handed_on(self, scope, receive, send):
        """Let the application answer; what it raises becomes an answer and a line in the log."""
        begun = False

        async def noting(message):
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception as error:
            tell(error)
            if not begun:
                await _answer(send, 400, "the request could not be understood")


async def _answer(send, status, text):
    body = (text + "\n").encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def tell(error: BaseException | None) -> None:
    """Write one line about a failed request to the log, printable whatever the client sent."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    print(f"neid: demo: a request failed: {printable}", file=sys.stderr, flush=True)


def one_line_tracebacks(modules: Collection[types.ModuleType]) -> None:
    """Let modules that print tracebacks of failed requests print a line instead.

    Gradio prints one for each malformed request, and has no setting for it.
    """
    quiet = types.SimpleNamespace(
        print_exc=lambda *_, **__: tell(sys.exc_info()[1]),
        format_exc=lambda *_, **__: repr(sys.exc_info()[1]),
    )
    for module in modules:
        if hasattr(module, "traceback"):
            module.traceback = quiet
