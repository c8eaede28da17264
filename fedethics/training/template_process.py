"""A process of its own in which chat templates are rendered, with limits on what one may take.

A template is a program of somebody's, and it reads every record. One that never ends, or fills the
memory, would stop the site; one that is slow where a text holds some word would tell the
coordinator so by the time of an answer. So it runs apart: without an environment, without files or
processes to open, in limited memory and processor time, and what it writes is limited too. Requests
and answers are lines of JSON. The process lives as long as the one that asks.

Guarantee: a conversation that takes more than `CPU_S` seconds of processor time, or more memory
than `MEMORY`, is refused, and so is one that the template makes longer than `most_characters`. How
long all records of a part took is rounded up (`paced`), so that it reveals little of the words.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fedethics.errors import DataError, ModelError

# Seconds of processor time for one conversation, or for each of many beginnings of a long one;
# usual templates take a thousandth of the first and a twentieth of the second.
CPU_S, CPU_EACH_S = 1.0, 0.01
# Seconds for a whole part, besides some for each beginning: no site waits for hours.
_PART_S, _PART_EACH_S = 60.0, 0.01
# A template cannot wait, but a machine can be busy.
WALL_S = 60.0
MEMORY = 2**30
# What a template may add to the words of a conversation: a long system prompt, marks at each turn.
_ADDED, _FACTOR = 20_000, 4
# Seconds a record: more than usual templates take, far less than reading it with a model does.
_SLOT_S = 0.001
_MOST_KEPT = 64
_START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from fedethics.training.template_process import serve; serve()"
)


class TemplateOverrun(DataError):
    """A chat template runs over its limits. Nothing was trained or measured."""


class Part(NamedTuple):
    """A beginning of a conversation.

    Attributes:
        turns: how many.
        answering: whether the words that ask the assistant for an answer follow.
    """

    turns: int
    answering: bool


def limits_are_known() -> bool:
    """Say whether this system can limit a process: Linux and macOS can."""
    return hasattr(signal, "setitimer") and sys.platform != "win32"


def most_characters(messages: Sequence[tuple[str, str]]) -> int:
    """Return how long a rendering of these turns may be."""
    return _ADDED + _FACTOR * sum(len(text) + len(role) + 16 for role, text in messages)


class Renderer:
    """Asks the process; starts it when it is first needed, and again after it was ended.

    Guarantee: one request at a time, whichever thread asks; a process of an earlier fork is not
    shared.

    Attributes:
        seconds: that were waited for answers until now.
        parts: that were rendered until now.
    """

    def __init__(self, *, cpu_s: float = CPU_S) -> None:
        """Start nothing yet.

        Args:
            cpu_s: seconds of processor time for one conversation.
        """
        self._cpu_s = cpu_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._known: dict[str, int] = {}
        self._next = 0
        self.seconds, self.parts = 0.0, 0

    def compile(self, template: str) -> None:
        """Have a template compiled.

        Raises:
            ModelError: it is not one that Jinja reads, or compiling runs over the limits.
        """
        with self._lock:
            try:
                said = self._compiled(template)
            except TemplateOverrun as overrun:
                raise ModelError(f"{overrun}; nothing was rendered") from overrun
        if "line" in said:
            raise ModelError(
                f"the chat template is not one that Jinja reads (line {said['line']}); nothing was "
                "rendered"
            )

    def render(
        self,
        template: str,
        tokens: Mapping[str, str],
        *,
        messages: Sequence[tuple[str, str]],
        parts: Sequence[Part],
    ) -> tuple[str, ...]:
        """Return the text of each part of a conversation.

        Args:
            template: in Jinja, compiled before.
            tokens: names of control tokens and how they are written.
            messages: role and text of each turn.
            parts: which beginnings are rendered.

        Raises:
            DataError: the template refuses such a conversation, or asks for what is not given.
            TemplateOverrun: it runs over its limits.
        """
        with self._lock:
            self.parts += len(parts)
            self._compiled(template)
            said = self._ask(
                {
                    "id": self._known[template],
                    "tokens": dict(tokens),
                    "messages": [list(message) for message in messages],
                    "parts": [list(part) for part in parts],
                    "most": most_characters(messages),
                    "cpu_s": max(self._cpu_s, CPU_EACH_S * len(parts)),
                }
            )
        if said.get("over"):
            raise TemplateOverrun(_OVER.format(said["over"], _ONE))
        if "refused" in said:
            raise DataError(
                "the model's chat template refuses a conversation of this record's roles "
                f"({said['refused']}). Give a template in the charter's model.chat-template"
            )
        return tuple(said["texts"])

    def _compiled(self, template: str) -> dict[str, Any]:
        self._running()
        if template in self._known:
            return {}
        self._next += 1
        said = self._ask({"id": self._next, "compile": template, "cpu_s": self._cpu_s})
        if "line" not in said:
            self._known[template] = self._next
            # The process forgets the same ones, oldest first.
            while len(self._known) > _MOST_KEPT:
                self._known.pop(next(iter(self._known)))
        return said

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process, begun = self._running(), time.monotonic()
        line = b""
        try:
            # The process may have been ended while nobody looked: then there is no answer either.
            with contextlib.suppress(BrokenPipeError, ValueError):
                if process.stdin and process.stdout:
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    process.stdin.flush()
                    line = process.stdout.readline()
        except BaseException:
            # Interrupted (Ctrl-C in a notebook): this answer would be read as the next request's.
            self.end()
            raise
        self.seconds += time.monotonic() - begun
        if line:
            said: dict[str, Any] = json.loads(line)
            return said
        self.end()
        why = _ENDED.get(-(process.returncode or 0), "its limit of time")
        raise TemplateOverrun(_OVER.format(why, _ONE))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid():
            return self._process
        self._known.clear()
        root = str(Path(__file__).resolve().parents[2])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            # So that Ctrl-C at a terminal ends the one that asks first.
            start_new_session=True,
        )
        self._owner = os.getpid()
        if not (self._process.stdout and self._process.stdout.readline()):
            self.end()
            raise ModelError(
                "the process that renders chat templates does not start on this machine: a limit "
                "on memory, files or processor time cannot be set. Nothing was rendered"
            )
        return self._process

    def end(self) -> None:
        """End the process; the next request starts another."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()
        self._known.clear()


RENDERER = Renderer()
_OVER = (
    "the chat template runs over {} with {}. A template only puts marks between turns: take "
    "another one in model.chat-template"
)
_ONE = "one conversation"
_TIME = "its limit of processor time"
_MEMORY = f"its limit of {MEMORY >> 20} MiB of memory"
_ENDED: Mapping[int, str] = {
    int(signal.SIGKILL): _MEMORY,
    int(getattr(signal, "SIGPROF", 27)): _TIME,
    int(getattr(signal, "SIGXCPU", 24)): _TIME,
    int(getattr(signal, "SIGALRM", 14)): "its limit of time",
}


_LOADS_ALL = (
    "{{ messages[0].x.y }}", "{{ raise_exception('') }}", "{% for",
    "{{ 'a\\n\u00e9'|wordwrap(2) }}",
    "{{ [1, 2]|join|pprint }}", "{{ 'a & b'|urlize|striptags|escape }}", "{{ 1.5|round|string }}",
)  # fmt: skip


@contextlib.contextmanager
def paced(records: int) -> Iterator[Callable[[], None]]:
    """Let what is rendered inside take a time that reveals little of the records' words.

    It is rounded up to `records` slots, doubled until they are enough: with a usual template that
    is the same number for any words, and a template that is slow for some of them changes it only
    by doubling it.

    Args:
        records: how many are rendered.

    Yields:
        What is to be called after each record: it raises `TemplateOverrun` where all of them
        together take too long.
    """
    seconds, parts = RENDERER.seconds, RENDERER.parts

    def keep_time() -> None:
        most = _PART_S + _PART_EACH_S * (RENDERER.parts - parts)
        if RENDERER.seconds - seconds > most:
            raise TemplateOverrun(_OVER.format(f"its limit of {most:.0f} s", "all records"))

    yield keep_time
    spent = RENDERER.seconds - seconds
    if spent:
        time.sleep(rounded_up(spent, records=records) - spent)


def rounded_up(spent: float, *, records: int) -> float:
    """Return the least of `records` slots, twice as many, four times ..., that `spent` fits in."""
    slots = max(1, records) * _SLOT_S
    return slots * 2.0 ** max(0, math.ceil(math.log2(max(spent, 1e-9) / slots)))


def serve() -> None:
    """Answer requests until there are no more: the process itself."""
    from fedethics.training.template_sandbox import Sandbox

    environment: Any = Sandbox()
    _prepare(environment)
    _limit()
    compiled: dict[int, Any] = {}
    _say({"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        with _clocked(request["cpu_s"]):
            answer = _answer(environment, compiled, request)
        while len(compiled) > _MOST_KEPT:
            compiled.pop(next(iter(compiled)))
        _say(answer)


def _answer(
    environment: Any,  # noqa: ANN401
    compiled: dict[int, Any],
    request: Mapping[str, Any],
) -> dict[str, Any]:
    try:
        if "compile" in request:
            compiled[request["id"]] = environment.from_string(request["compile"])
            return {"compiled": True}
        return _rendered(compiled[request["id"]], request)
    except MemoryError:
        return {"over": _MEMORY}
    except Exception as error:
        # A template is a program of somebody's; its message may quote a turn.
        if "compile" in request:
            return {"line": str(getattr(error, "lineno", "?"))}
        return {"refused": type(error).__name__}


def _rendered(template: Any, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    messages = [{"role": role, "content": text} for role, text in request["messages"]]
    texts: list[str] = []
    for turns, answering in request["parts"]:
        given = {"messages": messages[:turns], "add_generation_prompt": answering}
        texts.append(template.render(**given, **request["tokens"]))
        if len(texts[-1]) > request["most"]:
            return {"over": "the length that it may add"}
    return {"texts": texts}


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _clocked(cpu_s: float) -> Iterator[None]:
    """End this process where what is inside takes too long; the system does, not Python."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, WALL_S)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _prepare(environment: Any) -> None:  # noqa: ANN401
    """Load what Jinja loads when it first renders, refuses or fails: later no file opens."""
    for said in _LOADS_ALL:
        with contextlib.suppress(Exception):
            environment.from_string(said).render(messages=[{}])


def _limit() -> None:
    import resource

    from fedethics.memory import keep_private

    keep_private()
    limits = {"RLIMIT_AS": MEMORY, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0, "RLIMIT_NOFILE": 3}
    set_limit: Callable[..., None] = resource.setrlimit
    for name, most in limits.items():
        # macOS refuses the first one; time is limited there all the same.
        with contextlib.suppress(ValueError, OSError, AttributeError):
            set_limit(getattr(resource, name), (most, most))
