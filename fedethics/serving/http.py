"""The service over HTTP: routes, a bearer token, limits, counts. No input is logged or echoed.

Source of `/v1/chat/completions`: OpenAI's API reference, chat completions, 2024; only what is named
in docs/after-release.md is built, and the rest is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fedethics.listening import Admission
from fedethics.serving import inputs
from fedethics.serving.counts import Counts
from fedethics.serving.inputs import Refused
from fedethics.serving.service import Service

MOST_BYTES = 1_000_000
_BODY_SECONDS = 30.0
_LOOK_SECONDS = 0.5
Answer: TypeAlias = Callable[[Request], Awaitable[Response]]


def application(
    service: Service, *, token: str, most_tokens: int = 256, most_bytes: int = MOST_BYTES
) -> Starlette:
    """Return the application.

    Args:
        service: what answers.
        token: that every client must send, but for /health; empty for none.
        most_tokens: of one answer.
        most_bytes: of one request's body.
    """
    face = _Face(service, token, most_tokens, most_bytes)
    routes = [
        Route(path, face.guarded(path, handler), methods=[method])
        for path, method, handler in (
            ("/health", "GET", face.health),
            ("/metrics", "GET", face.metrics),
            ("/v1/models", "GET", face.models),
            ("/v1/audit", "GET", face.audit),
            ("/v1/predict", "POST", face.predict),
            ("/v1/explain", "POST", face.explain),
            ("/v1/chat/completions", "POST", face.chat),
        )
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _plain_error})


class _Face:
    """The routes, and what each request must pass."""

    def __init__(self, service: Service, token: str, most_tokens: int, most_bytes: int) -> None:
        self._service, self._most_tokens, self._most_bytes = service, most_tokens, most_bytes
        self._admission = Admission(token)
        self._counts = Counts()
        # A thread of its own: requests that wait for others must not hold up the look.
        self._looking = ThreadPoolExecutor(1, "standing")

    def guarded(self, path: str, handler: Answer) -> Answer:
        """Return the route: token and release looked at before, refusals told, counted after."""

        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            try:
                self._require_own_host(request)
                if path != "/health":
                    self._require_token(request)
                await self._require_standing()
                response = await handler(request)
                # What was withdrawn while it was computed is not given out.
                await self._require_standing()
            except Refused as refused:
                # The reason may name the release, and /health needs no token.
                unnamed = path == "/health" and self._admission.asks
                response = _refusal(Refused(refused.status, "stopped") if unnamed else refused)
            except ClientDisconnect:
                response = Response(status_code=400)
            except Exception:
                # An error's words may hold what a client sent: neither log nor answer has them.
                response = _refusal(Refused(500, "the server failed to answer"))
            self._counts.add(path, response.status_code, time.perf_counter() - began)
            return response

        return answer

    async def health(self, _request: Request) -> Response:
        """Say that the release stands and the model is loaded."""
        return JSONResponse({"status": "serving"})

    async def metrics(self, _request: Request) -> Response:
        """Return counts and times in Prometheus' text format."""
        return PlainTextResponse(self._counts.text(waiting=self._service.waiting))

    async def models(self, _request: Request) -> Response:
        """Return the one model that answers, as OpenAI's clients list models."""
        model = {"id": self._service.run_id, "object": "model", "owned_by": "fedethics"}
        return JSONResponse({"object": "list", "data": [model]})

    async def audit(self, _request: Request) -> Response:
        """Return verdict, privacy, group figures and signatures of what is served."""
        return JSONResponse(await run_in_threadpool(self._service.audit))

    async def predict(self, request: Request) -> Response:
        """Score and decide records."""
        self._service.require_deciding()
        asked = await self._asked(request)
        records = inputs.records(asked, self._service.opened.charter.data)
        texts = [one.content for one in records if one.content is not None]
        scores = await asyncio.wrap_future(self._service.scores(texts))
        told = self._service.told(records, scores)
        return JSONResponse({"model": self._service.run_id, "predictions": told})

    async def explain(self, request: Request) -> Response:
        """Say what each column does to one record's score."""
        self._service.require_deciding()
        asked = await self._asked(request)
        records = inputs.records(asked, self._service.opened.charter.data)
        if len(records) > 1:
            raise Refused(400, "records: /v1/explain takes one")
        scores = await asyncio.wrap_future(
            self._service.scores(self._service.without_each(records[0]))
        )
        return JSONResponse({"model": self._service.run_id, **self._service.effects(scores)})

    async def chat(self, request: Request) -> Response:
        """Write an answer, whole or as a stream of pieces."""
        asked = await self._asked(request)
        plain = bool(self._service.opened.charter.model.prompt)
        content = inputs.conversation(asked, plain=plain)
        most = inputs.most_tokens(asked, limit=self._most_tokens)
        pieces = _Pieces(asyncio.get_running_loop())
        done, read = await run_in_threadpool(
            lambda: self._service.answer(content, most=most, told=pieces.tell)
        )
        done.add_done_callback(pieces.end)
        reply = _Reply(self._service.run_id, read)
        if asked.get("stream") is True:
            return StreamingResponse(reply.stream(pieces), media_type="text/event-stream")
        watch = asyncio.create_task(_until_gone(request, pieces))
        try:
            return JSONResponse(await reply.whole(pieces))
        finally:
            pieces.cancelled = True
            watch.cancel()

    async def _require_standing(self) -> None:
        if self._service.changed():
            await asyncio.get_running_loop().run_in_executor(
                self._looking, self._service.require_standing
            )

    def _require_own_host(self, request: Request) -> None:
        if not self._admission.is_own_host(request.url.hostname):
            raise Refused(421, "without a token, only 127.0.0.1, ::1 and localhost are answered")

    def _require_token(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if self._admission.asks and not self._admission.bears(given):
            raise Refused(401, "send the header: Authorization: Bearer TOKEN")

    async def _asked(self, request: Request) -> dict[str, Any]:
        # A page in a browser cannot send this type to another host without being allowed to.
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refused(415, "send the header: Content-Type: application/json")
        try:
            body = await asyncio.wait_for(self._body(request), _BODY_SECONDS)
        except TimeoutError:
            raise Refused(408, f"the body took more than {_BODY_SECONDS:g} s") from None
        return inputs.table(body)

    async def _body(self, request: Request) -> bytes:
        parts, size = list[bytes](), 0
        async for part in request.stream():
            size += len(part)
            if size > self._most_bytes:
                raise Refused(413, f"at most {self._most_bytes:,} bytes in one request")
            parts.append(part)
        return b"".join(parts)


async def _until_gone(request: Request, pieces: _Pieces) -> None:
    """Let the model stop writing once the client went away."""
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK_SECONDS)
    pieces.cancelled = True


class _Pieces:
    """Pieces of an answer, from the model's thread to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[tuple[str, int, bool] | Exception | None] = asyncio.Queue()
        self.cancelled = False

    def tell(self, text: str, tokens: int, ended: bool) -> bool:
        """Take a piece from the model's thread; return whether anybody still listens."""
        self._put((text, tokens, ended))
        return not self.cancelled

    def end(self, done: Any) -> None:  # noqa: ANN401  a Future of whatever
        """Take the end, and what went wrong."""
        error = done.exception()
        self._put(error if isinstance(error, Exception) else None)

    async def each(self) -> AsyncIterator[tuple[str, int, bool]]:
        """Yield the pieces until the end.

        Raises:
            Refused: the model could not go on.
        """
        while (piece := await self._queue.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def _put(self, piece: tuple[str, int, bool] | Exception | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, piece)


class _Reply:
    """An answer in the form that OpenAI's clients read."""

    def __init__(self, model: str, read: int) -> None:
        self._read = read
        self._head = {"model": model, "created": int(time.time())}
        self._id = "chatcmpl-" + hashlib.sha256(f"{time.time_ns()}".encode()).hexdigest()[:24]

    async def whole(self, pieces: _Pieces) -> dict[str, object]:
        """Return the whole answer."""
        text, tokens, ended = "", 0, False
        async for piece, tokens, ended in pieces.each():  # noqa: B007  the last ones are used
            text += piece
        message = {"role": "assistant", "content": text}
        return {
            "id": self._id,
            "object": "chat.completion",
            **self._head,
            "choices": [{"index": 0, "message": message, "finish_reason": _why_ended(ended)}],
            "usage": {
                "prompt_tokens": self._read,
                "completion_tokens": tokens,
                "total_tokens": self._read + tokens,
            },
        }

    async def stream(self, pieces: _Pieces) -> AsyncIterator[str]:
        """Yield server-sent events, one a piece, then the reason for the end."""
        ended = False
        try:
            yield self._event({"role": "assistant", "content": ""}, None)
            async for piece, _, ended in pieces.each():  # noqa: B007  the last one is used
                if piece:
                    yield self._event({"content": piece}, None)
            yield self._event({}, _why_ended(ended))
            yield "data: [DONE]\n\n"
        except Refused as refused:
            yield f"data: {json.dumps(_error(refused))}\n\n"
        finally:
            pieces.cancelled = True

    def _event(self, delta: Mapping[str, str], reason: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        event = {
            "id": self._id, "object": "chat.completion.chunk", **self._head, "choices": [choice],
        }  # fmt: skip
        return f"data: {json.dumps(event)}\n\n"


def _why_ended(ended: bool) -> str:
    return "stop" if ended else "length"


def _error(refused: Refused) -> dict[str, object]:
    return {"error": {"message": refused.message, "type": "refused", "code": refused.status}}


def _refusal(refused: Refused) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else None
    return JSONResponse(_error(refused), status_code=refused.status, headers=headers)


async def _plain_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _refusal(Refused(status, "there is no such path, or not by this method"))
