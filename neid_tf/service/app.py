"""The application: what it answers under each address."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from neid_tf.models import presets
from neid_tf.pictures.formats import FORMATS, format_of_content, is_available
from neid_tf.pictures.raster import FormatError
from neid_tf.service import settings as parameters
from neid_tf.service.body import Bodies, disconnected
from neid_tf.service.configuration import Configuration
from neid_tf.service.errors import GONE, Refused
from neid_tf.service.gate import FACTS, Gate, refuse
from neid_tf.service.metrics import Metrics
from neid_tf.service.page import page
from neid_tf.service.pool import Pool
from neid_tf.support.version import __version__

_SAID = {
    400: "no picture, or a form that is not sound",
    401: "no key, or one that is not known",
    408: "the body did not arrive in time",
    413: "more bytes or pixels than are taken",
    415: "no picture of a known format",
    422: "a damaged picture, or a parameter that is not one",
    429: "too many pictures are waiting: Retry-After says when to come again",
    503: "the worker died, or none was free in time: try again",
    504: "the picture took too long",
}
_BYTES = {"type": "string", "format": "binary"}
_PIECE = 2**17  # bytes


def create(configuration: Configuration, pool: Pool | None = None) -> FastAPI:
    """Return the application.

    Args:
        configuration: of the service.
        pool: its workers; they are started with the application unless they run.
    """
    pool = pool or Pool(configuration)
    metrics, bodies = Metrics(pool), Bodies(configuration.max_bytes)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI):
        await pool.start()
        yield
        await pool.stop()

    app = FastAPI(
        title="NEID",
        summary="Low-light pictures made bright and detailed",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page takes its scripts from another host.
        redoc_url=None,
    )
    app.add_middleware(Gate, configuration=configuration, note=metrics.note)

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = Refused(error.status_code, str(error.detail), headers=error.headers)
        return _Refusal(error, configuration.max_bytes)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, refused)
    _add_enhance(app, configuration, pool, metrics, bodies)
    _add_rest(app, configuration, pool, metrics)
    return app


class _Refusal(Response):
    """A refusal as a response of Starlette's."""

    def __init__(self, error: Refused, max_bytes: int) -> None:
        super().__init__(status_code=error.status)
        self._error, self._max_bytes = error, max_bytes

    async def __call__(self, scope, receive, send):
        await refuse(self._error, scope, receive, send, self._max_bytes)


def _add_enhance(app, configuration, pool, metrics, bodies):
    form = {"type": "object", "properties": {"file": _BYTES}, "required": ["file"]}
    body = {"image/*": {"schema": _BYTES}, "multipart/form-data": {"schema": {**form}}}
    documented = {
        "parameters": parameters.parameters(configuration.weights),
        "requestBody": {"required": True, "content": body},
    }
    picture = {"description": "the enhanced picture", "content": {"image/*": {"schema": _BYTES}}}
    said = {200: picture} | {status: {"description": text} for status, text in _SAID.items()}

    @app.post(
        "/v1/enhance",
        summary="Enhance a picture",
        response_class=Response,
        responses=said,
        openapi_extra=documented,
    )
    async def enhance(request: Request) -> Response:
        """Send a picture's file as the body, or as a form's only file; parameters in either.

        It comes back enhanced, with its metadata; `X-Neid-Note` tells what could not be kept.
        """
        bodies.check(request)
        if pool.is_full:
            raise pool.full()
        with bodies.room() as room:
            over = time.monotonic() + configuration.timeout
            content, pairs = await room.read(request, configuration.timeout)
            given = parameters.parsed(pairs, configuration.weights)
            _check_format(content)
            facts = request.scope[FACTS]
            facts |= {"bytes": len(content), "weights": given.weights}
            work = pool.enhance(vars(given), content, max(over - time.monotonic(), 0.0))
            del content
            answer, made = await _while_connected(request, work)
        metrics.note_picture(answer)
        facts |= {"sent": len(made), "pixels": answer["pixels"], "worker": answer["worker"]}
        facts |= {"waited": round(answer["waited"], 4), "computed": round(answer["seconds"], 4)}
        return _picture(answer, made, configuration.timeout)


def _check_format(content):
    try:
        name = format_of_content(content[:64])
    except FormatError as error:
        raise Refused(415, str(error)) from None
    if not is_available(FORMATS[name]):
        raise Refused(415, f"this service does not read {name}")


async def _while_connected(request, work):
    """Return what some work gives, unless the client goes away."""
    work = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Refused(GONE, "the client went away")
        return work.result()
    finally:
        for one in (work, gone):
            one.cancel()


class _Pieces(Response):
    """A response that is sent as its client takes it, and is given up where that takes too long.

    In one piece it would lie in the server's memory until then.

    Args:
        content: of the body.
        media_type: of that.
        seconds: that sending it may take.
    """

    def __init__(self, content: bytes, media_type: str, seconds: float) -> None:
        super().__init__(content, media_type=media_type)
        self._seconds = seconds

    async def __call__(self, scope, receive, send):
        try:
            await asyncio.wait_for(self._sent(send), self._seconds)
        except asyncio.TimeoutError:
            scope[FACTS]["reason"] = "the client did not take the picture in time"

    async def _sent(self, send):
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start"} | head)
        for start in range(0, len(self.body), _PIECE):
            piece = self.body[start : start + _PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _picture(answer, made, seconds):
    """Return the response that is a picture, with what could not be kept of it."""
    kind = parameters.TYPES.get(format_of_content(made[:64]), "application/octet-stream")
    response = _Pieces(made, kind, seconds)
    for note in answer["notes"]:
        response.headers.append("X-Neid-Note", note.encode("ascii", "replace").decode())
    waited, computed = (1e3 * answer[name] for name in ("waited", "seconds"))
    response.headers["Server-Timing"] = f"wait;dur={waited:.1f}, compute;dur={computed:.1f}"
    return response


def _add_rest(app, configuration, pool, metrics):
    @app.head("/v1/models", include_in_schema=False)
    @app.get("/v1/models", summary="The networks that can be asked for")
    async def models() -> dict[str, Any]:
        """Give their names, the default first."""
        own = {preset.name: preset for preset in presets.presets()}
        places = configuration.weights.items()
        listed = [_described(name, own.get(place)) for name, place in places]
        return {"default": configuration.default, "models": listed}

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", summary="Whether the service lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="Whether a worker is there", responses={503: {}})
    async def readyz() -> Response:
        status = "ready" if pool.is_ready else "not ready"
        return JSONResponse({"status": status}, 200 if pool.is_ready else 503)

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics", summary="Measures, for Prometheus", response_class=Response)
    async def measures() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.head("/docs", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page(app.openapi(), form=not configuration.keys))


def _described(name, preset):
    described = {"name": name, "summary": preset.summary if preset else "given with --weights"}
    return described | ({"parameters": preset.parameters} if preset else {})
