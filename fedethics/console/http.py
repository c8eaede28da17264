"""The console over HTTP: pages, a token, headers. Nothing is written, and no address is logged.

Guarantee: every value on a page is text and nothing more (`release.pages`), and no page runs a
script or loads a style but the console's own files: the header Content-Security-Policy says so.

Source of the headers: OWASP, "HTTP Security Response Headers" and "Content Security Policy".
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from fedethics.console import coordinator, officer
from fedethics.console.places import Places
from fedethics.console.role import Role
from fedethics.console.roles import ROLES
from fedethics.errors import FedethicsError
from fedethics.listening import Admission
from fedethics.release import pages

_TEMPLATES = Path(__file__).parent / "templates"
_OWN = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action"
_POLICY = f"{_OWN} 'self'; base-uri 'none'; frame-ancestors 'none'"
# A run's own page brings its style with it, runs nothing and loads nothing.
_REPORT = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'none'; sandbox"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FILES = {"console.css": "text/css", "console.js": "text/javascript"}
_MOST_FORM = 1000
_WRONG_S = 0.5
Answer: TypeAlias = Callable[[Request], Awaitable[Response]]


def application(places: Places, *, token: str, port: int = 0, secure: bool = False) -> Starlette:
    """Return the application.

    Args:
        places: what is shown.
        token: that every reader must give; empty for none.
        port: that it listens on, so that consoles of one machine keep apart.
        secure: whether it speaks TLS.
    """
    face = _Face(places, token, port=port, secure=secure)
    shown = [
        ("/", face.guarded(face.home), "GET"),
        *((f"/{role.name}", face.guarded(face.of(role)), "GET") for role in ROLES.all()),
        ("/coordinator/{job}/{page}", face.guarded(face.report), "GET"),
        ("/coordinator/windows/{number:int}/history", face.guarded(face.history), "GET"),
        ("/officer/{site}/ledger.csv", face.guarded(face.ledger), "GET"),
        ("/officer/{site}/receipt/{run}", face.guarded(face.receipt), "GET"),
        ("/enter", face.enter, "POST"),
        *((f"/{name}", face.file, "GET") for name in _FILES),
    ]
    routes = [Route(path, answer, methods=[method]) for path, answer, method in shown]
    return Starlette(routes=routes, exception_handlers={404: face.missing, 405: face.missing})


class _Face:
    """The pages, and what each request must pass."""

    def __init__(self, places: Places, token: str, *, port: int, secure: bool) -> None:
        self._places, self._admission, self._secure = places, Admission(token), secure
        # Cookies know no ports: the name keeps two consoles of one machine apart.
        self._cookie, self._session = f"fedethics-console-{port}", secrets.token_urlsafe(32)

    def guarded(self, handler: Answer) -> Answer:
        """Return the route: nothing is read for who may not see it."""

        async def answer(request: Request) -> Response:
            if not self._admission.is_own_host(request.url.hostname):
                return self._stopped(421, "Without a token, only 127.0.0.1 and localhost answer.")
            if not self._admitted(request):
                return _page("enter.html.j2", {"wrong": False}, status=401)
            try:
                return await handler(request)
            except FedethicsError as error:
                return self._stopped(409, f"[{error.code}] {error}")

        return answer

    async def home(self, _request: Request) -> Response:
        """Show which roles have a page; the only one is shown itself."""
        roles = self._roles()
        if len(roles) == 1:
            return _redirect(f"/{roles[0].name}")
        return _page("home.html.j2", {"roles": roles, "at": None, "title": "Console"})

    def of(self, role: Role) -> Answer:
        """Return the route of a role's page."""

        async def answer(_request: Request) -> Response:
            seen = await run_in_threadpool(role.look, self._places)
            context = {"role": role, "roles": self._roles(), "at": role, "title": role.title}
            return await run_in_threadpool(_page, f"{role.name}.html.j2", {**context, **seen})

        return answer

    async def report(self, request: Request) -> Response:
        """Show a page that a run wrote."""
        job, page = request.path_params["job"], request.path_params["page"]
        return self._written(coordinator.page_of(self._places, job, page))

    async def history(self, request: Request) -> Response:
        """Show the page with every figure's history over the windows of a monitoring."""
        number = request.path_params["number"]
        return self._written(coordinator.history_page(self._places, number))

    def _written(self, found: Path | None) -> Response:
        if found is None:
            return self._stopped(404, "There is no such page.")
        headers = {**_HEADERS, "Content-Security-Policy": _REPORT}
        return Response(found.read_bytes(), media_type="text/html", headers=headers)

    async def ledger(self, request: Request) -> Response:
        """Give a site's charges as a file."""
        site = request.path_params["site"]
        data = await run_in_threadpool(officer.ledger_csv, self._places, site)
        return self._download(data, f"{site}-ledger.csv", "text/csv")

    async def receipt(self, request: Request) -> Response:
        """Give a receipt that a site signed, as a file."""
        site, run = request.path_params["site"], request.path_params["run"]
        data = await run_in_threadpool(officer.receipt, self._places, site, run)
        return self._download(data, f"{site}-{run}-receipt.json", "application/json")

    async def enter(self, request: Request) -> Response:
        """Take the token from the form, and admit this browser until the console ends."""
        given = await _token_given(request)
        own = request.headers.get("origin", "").partition("://")[2]
        if own not in ("", request.headers.get("host", "")):
            return self._stopped(403, "The form is of another page.")
        if not self._admission.knows(given):
            await asyncio.sleep(_WRONG_S)
            return _page("enter.html.j2", {"wrong": True}, status=401)
        response = _redirect("/")
        response.set_cookie(
            self._cookie, self._session, httponly=True, samesite="strict", secure=self._secure
        )
        return response

    async def file(self, request: Request) -> Response:
        """Give the style or the script."""
        name = request.url.path[1:]
        return Response((_TEMPLATES / name).read_bytes(), media_type=_FILES[name], headers=_HEADERS)

    async def missing(self, _request: Request, _error: Exception) -> Response:
        """Say that there is no such page."""
        return self._stopped(404, "There is no such page.")

    def _roles(self) -> list[Role]:
        return [role for role in ROLES.all() if role.shown(self._places)]

    def _admitted(self, request: Request) -> bool:
        if not self._admission.asks:
            return True
        cookie = request.cookies.get(self._cookie, "")
        return hmac.compare_digest(cookie.encode(), self._session.encode()) or (
            self._admission.bears(request.headers.get("authorization", ""))
        )

    def _download(self, data: bytes | None, name: str, kind: str) -> Response:
        if data is None:
            return self._stopped(404, "There is no such file.")
        plain = "".join(each if each.isascii() and each.isalnum() else "-" for each in name[:-5])
        shown = f'attachment; filename="{plain}{name[-5:]}"'
        headers = {**_HEADERS, "Content-Disposition": shown}
        return Response(data, media_type=kind, headers=headers)

    def _stopped(self, status: int, why: str) -> Response:
        return _page("stopped.html.j2", {"why": why}, status=status)


def _page(template: str, context: Mapping[str, object], *, status: int = 200) -> Response:
    text = pages.render(template, context, templates=_TEMPLATES)
    return Response(text, status_code=status, media_type="text/html", headers=_HEADERS)


def _redirect(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303, headers=_HEADERS)


async def _token_given(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_FORM:
            return ""
    return parse_qs(body.decode("ascii", errors="replace")).get("token", [""])[0]
