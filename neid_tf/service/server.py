"""Serving the application with uvicorn, from the first worker to a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn

from neid_tf.service import app
from neid_tf.service.configuration import Configuration
from neid_tf.service.log import log, take_over
from neid_tf.service.pool import Pool
from neid_tf.support.signals import on_signal

_BACKLOG = 2048
_GRACE = 5.0  # seconds that a request whose time is over has to be answered


def listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that a port that is taken is told at once.

    Args:
        host: name or address; that of IPv6 with brackets or without.
        port: its number.

    Raises:
        OSError: if the port is taken, or the address is not of this machine.
    """
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def serve(configuration: Configuration, listening: socket.socket, ready: Callable) -> None:
    """Serve until a signal says to end: then what has begun is finished.

    Args:
        configuration: of the service.
        listening: from :func:`listener`.
        ready: called once the first worker is there.

    Raises:
        NeidError: where the network cannot be loaded.
    """
    asyncio.run(_serve(configuration, listening, ready))


async def _serve(configuration, listening, ready):
    take_over()
    pool, ending, loop = Pool(configuration), asyncio.Event(), asyncio.get_running_loop()
    with on_signal(lambda: loop.call_soon_threadsafe(ending.set)):
        if not await _unless(ending, pool.start()):
            return
        server = _Server(
            uvicorn.Config(
                app.create(configuration, pool),
                log_config=None,
                access_log=False,
                lifespan="on",
                server_header=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=int(configuration.timeout + _GRACE),
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        ready()
        try:
            await asyncio.wait(
                {serving, asyncio.create_task(ending.wait())}, return_when="FIRST_COMPLETED"
            )
            log("ending")
            pool.closing = True
            server.should_exit = True
            await serving
        finally:
            await pool.stop()
        log("ended")


async def _unless(ending, work):
    """Do some work unless the end comes first; tell whether it was done."""
    work, end = asyncio.ensure_future(work), asyncio.create_task(ending.wait())
    await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
    end.cancel()
    if work.done():
        work.result()
        return True
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return False


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn would raise them again in the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
