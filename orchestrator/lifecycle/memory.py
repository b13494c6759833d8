"""Measuring what processes hold, of main memory and of NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from anyio import to_thread

__all__ = ["ProcessProbe"]


class ProcessProbe:
    """Implements `orchestrator.core.ports.MemoryProbe` with what is installed.

    Main memory needs ``psutil``: the resident set of the process and all its children, weights
    that are mapped from their file included. GPUs need ``pynvml`` of NVIDIA's ``nvidia-ml-py``
    and its driver. What cannot be measured is left out, and then the estimate stands.
    """

    async def measure(self, pid: int) -> dict[str, int]:
        """Return bytes by device, empty where the process is gone or nothing is known."""
        # Walking the process table takes milliseconds.
        return await to_thread.run_sync(_measure, pid)


def _measure(pid: int) -> dict[str, int]:
    if find_spec("psutil") is None:
        return _gpu_bytes({pid})
    psutil = import_module("psutil")
    measured: dict[int, int] = {}
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            measured[one.pid] = one.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # what went meanwhile holds nothing
    used = {"ram": sum(measured.values())} if sum(measured.values()) else {}
    return used | _gpu_bytes(measured)


def _gpu_bytes(pids: Iterable[int]) -> dict[str, int]:
    if find_spec("pynvml") is None:
        return {}
    nvml = import_module("pynvml")
    wanted = set(pids)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return {}  # the package without a driver
    try:
        return {
            f"gpu:{index}": used
            for index in range(nvml.nvmlDeviceGetCount())
            if (used := _used_on(nvml, index, wanted))
        }
    finally:
        nvml.nvmlShutdown()


def _used_on(nvml: Any, index: int, pids: set[int]) -> int:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    running = nvml.nvmlDeviceGetComputeRunningProcesses(device)
    # None where the driver does not tell, as under Windows' own memory model.
    return sum(one.usedGpuMemory or 0 for one in running if one.pid in pids)
