"""Flower's minute of patience with a silent node made twenty seconds, in a test's processes.

Python imports this at its start where the folder is on PYTHONPATH. It changes how long Flower waits
before it counts a node as gone, and a site's task as lost; the fedethics beside it is as shipped.
An executor whose home holds a file `dies-at` ("PullMessages 4") kills itself, once, at that call.
"""

import os
import signal
import sys
from pathlib import Path

_COMMAND = " ".join(sys.orig_argv)
_BEAT_S = 10

if "fedethics.flower." in _COMMAND:
    from flwr.common import constant

    _SHIPPED_S = constant.HEARTBEAT_DEFAULT_INTERVAL
    constant.HEARTBEAT_DEFAULT_INTERVAL = _BEAT_S
    constant.HEARTBEAT_MIN_INTERVAL = 1

if "fedethics.flower.superlink" in _COMMAND:
    from flwr.supercore.corestate import sql_corestate

    # A ServerApp beats for the first time after it has loaded torch, which takes a busy machine
    # longer than that.
    sql_corestate.HEARTBEAT_DEFAULT_INTERVAL = _SHIPPED_S

if "fedethics.flower.executor" in _COMMAND:
    from fedethics.flower import runtime_api

    runtime_api._BEAT_S = _BEAT_S / 2
    _ORDER = Path(sys.orig_argv[sys.orig_argv.index("--home") + 1]) / "dies-at"

    def _dies_at(name: str, number: int) -> None:
        """Die at the call of this number: before a pull reaches the SuperNode, after a push has."""
        call, left = getattr(runtime_api.RuntimeHttpClient, name), [number]

        def counted(*given, **named):
            left[0] -= 1
            answer = None if left[0] == 0 and name.startswith("Pull") else call(*given, **named)
            if left[0] == 0:
                _ORDER.rename(_ORDER.with_name("died-at"))
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        setattr(runtime_api.RuntimeHttpClient, name, counted)

    if _ORDER.exists():
        _name, _number = _ORDER.read_text().split()
        _dies_at(_name, int(_number))
