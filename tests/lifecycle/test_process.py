from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import psutil
import pytest

from orchestrator.core.errors import ProcessError
from orchestrator.core.ports import ResidentSpec
from orchestrator.lifecycle.engine_process import EngineProcess
from orchestrator.lifecycle.process import SubprocessLauncher
from tests.lifecycle.processes import has_ended, parent_of, until

READY = """
import os, sys
print('{"base_url": "http://127.0.0.1:1234/v1"}', flush=True)
"""
UNTIL_STDIN_ENDS = "sys.stdin.read()\n"
FOR_EVER = "import signal, time\nwhile True: time.sleep(60)\n"


def engine(program: str, **rest: Any) -> ResidentSpec:
    return ResidentSpec("small", (sys.executable, "-c", program), **{"env": {}, **rest})


async def start(program: str, **env: str) -> EngineProcess:
    return await SubprocessLauncher().start(engine(program, env=env))


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    assert psutil.Process().children(recursive=True) == []


# -- becoming ready ----------------------------------------------------------------------------


async def test_a_process_is_ready_once_it_has_said_where_it_serves():
    process = await start(READY + UNTIL_STDIN_ENDS)

    assert process.endpoint.base_url == "http://127.0.0.1:1234/v1"
    assert not has_ended(psutil.Process(process.pid))
    await process.stop()


async def test_the_key_travels_by_environment_and_nowhere_else():
    process = await start(
        "import os, sys\nprint(os.environ['ORCHESTRATOR_ENGINE_KEY'][::-1], file=sys.stderr)"
        + READY
        + UNTIL_STDIN_ENDS
    )
    assert process.endpoint.credential is not None
    key = process.endpoint.credential.get_secret_value()
    seen = psutil.Process(process.pid)

    await until(lambda: process.output)
    assert process.output == key[::-1]
    assert len(key) >= 32
    assert not any(key in word for word in seen.cmdline())
    assert key not in os.environ.values()
    assert key not in repr(process.endpoint)
    await process.stop()


async def test_a_key_that_is_written_is_not_kept():
    process = await start(
        "import os, sys\nprint('key', os.environ['ORCHESTRATOR_ENGINE_KEY'], file=sys.stderr)"
        + READY
        + UNTIL_STDIN_ENDS
    )

    await until(lambda: process.output)
    assert process.output == "key [key]"
    await process.stop()


async def test_each_process_has_a_key_of_its_own():
    first, second = [await start(READY + UNTIL_STDIN_ENDS) for _ in range(2)]

    assert first.endpoint.credential != second.endpoint.credential
    await first.stop()
    await second.stop()


async def test_the_specs_environment_is_added_to_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OURS", "1")
    process = await start(
        "import os, sys\nprint(os.environ['OURS'], os.environ['ITS'], file=sys.stderr, flush=True)"
        + READY
        + UNTIL_STDIN_ENDS,
        ITS="2",
    )

    await until(lambda: process.output == "1 2")
    await process.stop()


async def test_a_process_lives_in_a_session_of_its_own_where_ctrl_c_does_not_reach():
    process = await start(READY + UNTIL_STDIN_ENDS)

    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    await process.stop()


async def test_a_program_that_does_not_exist_is_named():
    spec = ResidentSpec("small", ("/no/such/engine",), {})

    with pytest.raises(ProcessError, match=r"small: /no/such/engine does not start"):
        await SubprocessLauncher().start(spec)


async def test_a_process_that_ends_before_it_is_ready_leaves_its_code_and_last_words():
    with pytest.raises(ProcessError, match=r"exit code 3 before it was ready.*no such model") as e:
        await start("import sys\nprint('no such model', file=sys.stderr)\nsys.exit(3)")

    assert e.value.exit_code == 3
    assert e.value.output == "no such model"


async def test_a_process_killed_before_it_is_ready_leaves_the_signals_name():
    with pytest.raises(ProcessError, match="SIGSEGV before it was ready; it wrote nothing") as e:
        await start("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")

    assert e.value.exit_code == -signal.SIGSEGV


async def test_a_process_that_is_not_ready_in_time_is_killed():
    with pytest.raises(ProcessError, match=r"small was not ready within 0.1 s and was killed"):
        await SubprocessLauncher().start(engine(FOR_EVER, ready_timeout_s=0.1))

    assert psutil.Process().children() == []


@pytest.mark.parametrize(
    "first", ["hello\n", "{}\n", "[1]\n", '{"base_url"\n', "no end " * 1000], ids=lambda s: s[:6]
)
async def test_a_process_that_says_something_else_first_is_killed(first: str):
    with pytest.raises(ProcessError, match="where its address was expected") as caught:
        await start(f"print({first!r}, end='', flush=True)\n" + FOR_EVER)

    assert first.strip()[:4000] in caught.value.output
    assert psutil.Process().children() == []


async def test_cancelling_a_start_kills_the_process():
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(SubprocessLauncher().start, engine(FOR_EVER))
            await until(lambda: psutil.Process().children())
            (child,) = psutil.Process().children()
            scope.cancel()

    assert not child.is_running()


# -- output ------------------------------------------------------------------------------------


async def test_a_flood_of_output_never_blocks_a_process_and_is_kept_within_bounds():
    flood = "for n in range(100_000): print('line', n, 'x' * 50, file=sys.stderr)\n"
    process = await start(
        "import sys\n" + flood + READY + flood.replace("stderr", "stdout") + "sys.exit(7)"
    )

    assert await process.wait() == 7
    await until(lambda: "line 99999 " in process.output)
    assert len(process.output.splitlines()) <= 101


async def test_a_line_without_end_is_cut():
    process = await start(
        "import sys\nsys.stderr.write('x' * 1_000_000)\nsys.stderr.flush()" + READY
    )

    await process.wait()
    assert len(process.output) < 10_000


async def test_the_end_of_an_error_quotes_the_very_last_lines_only():
    with pytest.raises(ProcessError) as caught:
        await start("import sys\nfor n in range(500): print(n, file=sys.stderr)\nsys.exit(1)")

    assert caught.value.message.endswith("its last words: 497 | 498 | 499")
    assert caught.value.output.splitlines() == [str(n) for n in range(400, 500)]


# -- ending ------------------------------------------------------------------------------------


async def test_waiting_returns_the_exit_code_to_everybody_who_waits():
    process = await start(READY + "sys.stdin.read()\nsys.exit(5)")
    codes = []

    async def wait() -> None:
        codes.append(await process.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        os.kill(process.pid, signal.SIGKILL)

    assert codes == [-signal.SIGKILL, -signal.SIGKILL]
    assert await process.wait() == -signal.SIGKILL


async def test_stopping_asks_first():
    asked = (
        "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
        + READY
        + FOR_EVER
    )
    process = await start(asked)

    assert await process.stop() == 0


async def test_a_process_that_does_not_heed_is_killed_after_its_grace():
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)" + READY + FOR_EVER
    process = await start(deaf)

    assert await process.stop(grace_s=0.05) == -signal.SIGKILL
    assert not psutil.pid_exists(process.pid)


async def test_cancelling_a_stop_kills_at_once():
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)" + READY + FOR_EVER
    process = await start(deaf)

    with anyio.move_on_after(0.05):
        await process.stop(grace_s=3600)

    assert await process.wait() == -signal.SIGKILL


async def test_stopping_what_has_ended_returns_its_code():
    process = await start(READY + "sys.exit(4)")
    await process.wait()

    assert await process.stop() == 4
    assert await process.stop() == 4


async def test_a_stopped_process_is_no_zombie():
    process = await start(READY + UNTIL_STDIN_ENDS)
    await process.stop()

    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_process_outlives_the_one_that_started_it(number: signal.Signals):
    with parent_of(sys.executable, "-c", READY + UNTIL_STDIN_ENDS) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert not has_ended(child)
        parent.send_signal(number)

    await until(lambda: has_ended(child))
