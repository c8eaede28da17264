"""Flower's minute of patience with a silent node made twenty seconds, in a test's processes.

Python imports this at its start where the folder is on PYTHONPATH. It changes how long Flower waits
before it counts a node as gone, and a site's task as lost; the fedethics beside it is as shipped.
"""

import sys

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
