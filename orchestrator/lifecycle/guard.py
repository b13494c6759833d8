"""A program that runs a command which knows nothing of us, so that it ends when we do.

Run as a file, without the site module: ``python -I -S guard.py NICE CORES COMMAND ...`` with
``CORES`` separated by commas. It imports as little as it can, since each load waits for it; typing
alone would double the time.

- The command gets a process group of its own. When the guard's standard input ends, which the
  kernel sees to however our process ends, the whole group is killed.
- SIGTERM is passed on to the group, so that the command can end by itself.
- When the command ends, whatever it has left behind is killed, and the guard ends as it did: with
  its exit code or by its signal.
- On Linux the command is killed also when the guard is. Elsewhere it then lives on.

With ``--stay-out`` before them, it only lowers itself to these shares and becomes the command,
which has promised to watch its standard input itself.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36
_NOT_FOUND = 127  # as a shell says it


def main() -> None:
    """Run the command, and end as it does."""
    arguments = sys.argv[1:]
    stay_out = arguments[0] == "--stay-out"
    nice, cores, *command = arguments[1:] if stay_out else arguments
    os.nice(int(nice))
    _keep_to(cores)
    if stay_out:
        _become(command)
    # The command's orphans become ours rather than nobody's.
    _ask_kernel(_PR_SET_CHILD_SUBREAPER, 1)
    # Until there is somebody to pass it on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        _ask_kernel(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _become(command)
    _attempt(os.setpgid, child, child)  # unless it has done so itself
    signal.signal(signal.SIGTERM, lambda *_: _attempt(os.killpg, child, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    _thread.start_new_thread(_kill_at_end_of_input, (child,))
    _, status = os.waitpid(child, 0)
    _kill_the_rest(child)
    _end_like(os.waitstatus_to_exitcode(status))


def _keep_to(cores: str) -> None:
    if not cores:
        return
    try:
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    except (AttributeError, OSError) as error:  # another system, or a core that is not there
        os.write(2, f"it cannot be kept to the cores {cores}: {error}\n".encode())
        os._exit(1)


def _become(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} does not start: {error.strerror}\n".encode())
        os._exit(_NOT_FOUND)


def _ask_kernel(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _kill_at_end_of_input(child: int) -> None:
    while os.read(0, 1024):
        pass
    _attempt(os.killpg, child, signal.SIGKILL)


def _kill_the_rest(group: int) -> None:
    """Kill what is left of the group, and on Linux also those who have left it."""
    _attempt(os.killpg, group, signal.SIGKILL)
    while children := _children():
        for child in children:
            _attempt(os.kill, child, signal.SIGKILL)
        os.waitpid(-1, 0)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as listed:
            return [int(pid) for pid in listed.read().split()]
    except OSError:  # not Linux, where orphans are not ours either
        return []


def _attempt(call: Callable[[int, int], None], whom: int, what: int) -> None:
    """Do this to somebody who may have ended; macOS then permits nothing, others know nobody."""
    try:
        call(whom, what)
    except (ProcessLookupError, PermissionError):
        return


def _end_like(code: int) -> None:
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command has left its own
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
