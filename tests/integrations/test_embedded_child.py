"""The child's own guard against outliving its parent, without an engine."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

PROGRAM = Path(__file__).parents[2] / "orchestrator/integrations/embedded_child.py"

CHILD = f"""
import ctypes, importlib.util, os
spec = importlib.util.spec_from_file_location("child", {str(PROGRAM)!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
"""
# What a load looks like from Python: C code that never lets go of the interpreter's lock.
LOADING = f"""{CHILD}
child._watch_parent()
print("watching", flush=True)
ctypes.PyDLL(None).sleep(3600)
"""
LOADED = LOADING.replace("PyDLL", "CDLL")

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize(
    "program",
    [
        LOADED,
        pytest.param(
            LOADING,
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel helps"),
        ),
    ],
    ids=["serving", "loading"],
)
def test_a_child_ends_when_its_parent_is_killed(program: str):
    with parent_of(program) as (parent, child):
        parent.send_signal(signal.SIGKILL)
        parent.wait()

        gone, _ = psutil.wait_procs([child], timeout=30)
        assert gone == [child] or child.status() == psutil.STATUS_ZOMBIE


def test_a_child_ends_when_its_lifeline_is_closed_by_a_parent_that_lives():
    with subprocess.Popen(
        [sys.executable, "-c", LOADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "watching\n"
        child.stdin.close()

        assert child.wait(timeout=30) == 0


def test_nothing_an_engine_prints_gets_before_the_address():
    program = """
address = child._keep_standard_output()
print("from Python", flush=True)
os.write(1, b"from C\\n")
os.write(address, b"the address\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", CHILD + program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "the address\n"
    assert done.stderr == "from Python\nfrom C\n"


@contextmanager
def parent_of(program: str) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        said, pid = parent.stdout.readline().split()
        assert said == "watching"
        child = psutil.Process(int(pid))
        try:
            yield parent, child
        finally:
            with suppress(psutil.NoSuchProcess):
                child.kill()
