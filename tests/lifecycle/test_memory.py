from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.core.ports import MemoryProbe
from orchestrator.lifecycle import memory
from orchestrator.lifecycle.memory import ProcessProbe

HOLD = """
import subprocess, sys
held = bytearray(64_000_000)
held[::4096] = b"x" * len(held[::4096])
if sys.argv[1:]:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
    child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
"""


def holder() -> subprocess.Popen[bytes]:
    """Start a process with a child, each of which holds 64 MB."""
    command = [sys.executable, "-c", HOLD, HOLD]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


async def test_what_a_process_and_its_children_hold_is_measured_until_they_are_gone():
    probe: MemoryProbe = ProcessProbe()
    with holder() as process:
        held = (await probe.measure(process.pid))["ram"]
    after = await probe.measure(process.pid)

    assert 128_000_000 < held < 400_000_000
    assert after == {}


class FakeNvml:
    """Two GPUs, as NVIDIA's library shows them."""

    class NVMLError(Exception):
        pass

    def __init__(self, running: list[list[tuple[int, int | None]]], *, driver: bool = True) -> None:
        self.running = running
        self.driver = driver
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802  # its name there
        if not self.driver:
            raise self.NVMLError("no driver")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.running)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=p, usedGpuMemory=b) for p, b in self.running[device]]


def install(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(memory, "find_spec", lambda name: name)


async def test_each_gpu_is_measured_for_this_process_only(monkeypatch: pytest.MonkeyPatch):
    me = os.getpid()
    nvml = FakeNvml([[(1, 7)], [(me, 300), (1, 5), (me, None)]])
    install(monkeypatch, nvml)
    measured = await ProcessProbe().measure(me)

    assert measured["gpu:1"] == 300
    assert "gpu:0" not in measured
    assert measured["ram"] > 0
    assert nvml.open == 0


async def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, FakeNvml([[(os.getpid(), 7)]], driver=False))

    assert set(await ProcessProbe().measure(os.getpid())) == {"ram"}
