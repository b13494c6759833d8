"""The program of an engine's own process: serve one model file on a loopback port.

Run as a file, so that nothing but the engine is imported: ``python embedded_child.py <JSON>`` with
the settings that `orchestrator.integrations.embedded` writes. It keeps the promises that
`orchestrator.lifecycle.process` asks of every engine.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    """Load the model, say where it serves, and stay until the parent is gone."""
    end_with_parent = _watch_parent()
    address = _keep_standard_output()
    settings = json.loads(sys.argv[1])
    key = os.environ.pop("ORCHESTRATOR_ENGINE_KEY")
    # An engine that aborts would start a debugger to print its stack.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    server = _serve(settings, key)
    base_url = f"{server.listening_address}/v1"
    os.write(address, json.dumps({"base_url": base_url}).encode() + b"\n")
    end_with_parent.join()


def _watch_parent() -> threading.Thread:
    """End this process when its parent ends, however that happens.

    The thread is enough once the model is loaded, on every system. The engine holds the
    interpreter's lock while it loads, so on Linux the kernel is asked as well, for the end of the
    parent's thread that runs the event loop; elsewhere an orphan ends when its load does.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    thread = threading.Thread(target=_end_with_standard_input, daemon=True)
    thread.start()
    return thread


def _end_with_standard_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


def _keep_standard_output() -> int:
    """Return a descriptor for the first line; whatever else is printed goes to standard error."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def _serve(settings: dict[str, Any], key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["name"]}
    params.n_ctx = settings["context"]
    params.n_parallel = settings["slots"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    if settings["batch"] is not None:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_batch = params.n_ubatch = settings["batch"]
    params.api_keys = [key]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    # A waiting request holds a thread; with too few the next connection waits before the door.
    params.n_threads_http = 64
    params.cors_origins = ""
    params.ui = False
    # By default the engine keeps up to 8 GiB of old prompts beside those in its slots.
    params.cache_ram_mib = 0
    params.verbosity = 2  # warnings
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
