"""Commands that know nothing of us, as residents: what they may say, and what becomes of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
import pytest_asyncio

from orchestrator.core.bounds import Liveness, ProcessBounds
from orchestrator.core.errors import (
    ConfigurationError,
    MissingExtraError,
    ModelAPIError,
    ProcessError,
)
from orchestrator.core.model import Call
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.ports import ResidentSpec, Timeouts
from orchestrator.core.results import TextAnswer
from orchestrator.integrations.embedded import warm_up
from orchestrator.integrations.http.transport import HttpTransport
from orchestrator.integrations.served import ServedModel
from orchestrator.lifecycle.command import CommandResident, command_resident
from orchestrator.lifecycle.engine_process import EngineProcess
from orchestrator.lifecycle.process import SubprocessLauncher
from orchestrator.lifecycle.readiness import get
from tests.lifecycle.processes import has_ended, parent_of_guarded, until

SERVER = str(Path(__file__).with_name("openai_server.py"))
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's kernel")
NEVER = Liveness(every_s=0)
UNWATCHED = ProcessBounds(liveness=NEVER)


def command(*options: str) -> tuple[str, ...]:
    return (sys.executable, "-S", SERVER, "--port", "{port}", *options)


def served(*options: str, **settings: Any) -> CommandResident:
    words = command("--alias", "{name}", *options)
    return command_resident("served", **{"command": words, "bounds": UNWATCHED, **settings})


# -- what may be said --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the command of resident 'mine' is empty"),
        (["server"], "says nowhere where to listen: for instance"),
        (["server", "{port}", "{modle}"], r"'{modle}' holds an unknown placeholder: known: {path}"),
        (["server", "{}"], "'{}' holds an unknown placeholder"),
        (["server", "{port:>9}"], "unknown placeholder"),
        (["server", "{port!r}"], "unknown placeholder"),
        (["server", "{port.real}"], "unknown placeholder"),
        (["server", "{port}", "{"], "has a brace without its other"),
        (["server", "{port}", "{path}"], "resident 'mine' has no path, and its command says"),
    ],
)
def test_a_command_that_cannot_be_started_is_refused_at_once(words: list[str], message: str):
    with pytest.raises(ConfigurationError) as refused:
        command_resident("mine", words)

    assert message in str(refused.value)


@pytest.mark.parametrize("value", ["{sk-123}", "sk-123{", "sk-123}"])
def test_a_variable_that_cannot_be_filled_is_named_and_not_quoted(value: str):
    with pytest.raises(ConfigurationError, match="the variable TOKEN ") as refused:
        command_resident("mine", ["server", "{port}"], env={"TOKEN": value})

    assert "sk-123" not in str(refused.value)


def test_a_path_that_the_command_does_not_mention_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="a path that its command does not mention"):
        command_resident("mine", ["server", "{port}"], path=tmp_path)


def test_placeholders_are_filled_in_arguments_and_environment(tmp_path: Path):
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"x" * 10)
    resident = command_resident(
        "mine",
        ["server", "-m", "{path}", "--listen=127.0.0.1:{port}", "--as", "{name}", '{{"a": 1}}'],
        path=weights,
        env={"KEY": "{key}", "HOME": "/"},
    )

    assert resident.filled(1234, "secret") == (
        ["server", "-m", str(weights), "--listen=127.0.0.1:1234", "--as", "mine", '{"a": 1}'],
        {"KEY": "secret", "HOME": "/"},
    )
    assert resident.size.weights_bytes == 10
    assert "HOME" not in repr(resident)


def test_a_folder_of_weights_is_as_big_as_its_files(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 3)
    (tmp_path / "deep" / "b").write_bytes(b"x" * 4)
    (tmp_path / "gone").symlink_to("nowhere")

    resident = command_resident("mine", ["vllm", "serve", "{path}", "{port}"], path=tmp_path)

    assert resident.size.weights_bytes == 7


@pytest.mark.parametrize("path", ["outside/model.gguf", "inside/../outside/model.gguf", "link"])
def test_a_path_outside_the_allowed_folders_is_refused(tmp_path: Path, path: str):
    for folder in ("inside", "outside"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.gguf").touch()
    (tmp_path / "link").symlink_to("outside/model.gguf")
    words = ["server", "{path}", "{port}"]
    folders = [tmp_path / "inside"]

    with pytest.raises(ConfigurationError, match="is outside the folders that models may come"):
        command_resident("mine", words, path=tmp_path / path, folders=folders)
    command_resident("mine", words, path=tmp_path / "inside" / "model.gguf", folders=folders)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"there is no .*gone"):
        command_resident("mine", ["server", "{path}", "{port}"], path=tmp_path / "gone")


def test_without_what_watches_over_it_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("orchestrator.lifecycle.command.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"orchestrator\[local\]"):
        command_resident("mine", ["server", "{port}"])


# -- becoming ready ----------------------------------------------------------------------------


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport()
    yield transport
    await transport.aclose()
    assert psutil.Process().children(recursive=True) == []


async def start(transport: HttpTransport, spec: ResidentSpec, **settings: Any) -> EngineProcess:
    return await SubprocessLauncher(
        lambda: transport,
        first_token=lambda endpoint: warm_up(transport, endpoint),
        **settings,
    ).start(spec)


def server_of(process: EngineProcess) -> psutil.Process:
    (server,) = psutil.Process(process.pid).children()
    return server


@pytest.mark.parametrize("options", [(), ("--no-health",)], ids=["health", "models"])
async def test_a_command_that_answers_serves(transport: HttpTransport, options: tuple[str, ...]):
    resident = served(*options, env={"SERVER_KEY": "{key}"})
    process = await start(transport, resident)
    model = ServedModel("mine", resident)
    model.bind(transport)

    answer = await model.answer(
        TextGenerationParams(prompt="hello"), Call(process.endpoint, Timeouts())
    )

    assert isinstance(answer, TextAnswer)
    assert answer.text == "HELLO"
    assert process.endpoint.model == "served"
    await warm_up(transport, process.endpoint)
    await process.stop()


async def test_a_server_of_embeddings_warms_up_with_a_vector(transport: HttpTransport):
    process = await start(transport, served("--only-embeddings"))

    await warm_up(transport, process.endpoint)
    await process.stop()


async def test_a_server_that_knows_the_model_by_another_name_does_not_warm_up(
    transport: HttpTransport,
):
    process = await start(transport, served(served_name="mine", command=command()))

    with pytest.raises(ModelAPIError, match="there is no model mine"):
        await warm_up(transport, process.endpoint)
    await process.stop()


async def test_two_processes_of_one_command_have_ports_and_keys_of_their_own(
    transport: HttpTransport,
):
    first, second = [await start(transport, served()) for _ in range(2)]

    assert first.endpoint.base_url != second.endpoint.base_url
    assert first.endpoint.credential != second.endpoint.credential
    await first.stop()
    await second.stop()


async def test_a_command_that_is_not_there_is_named(transport: HttpTransport):
    resident = command_resident("mine", ["/no/such/server", "{port}"], bounds=UNWATCHED)

    with pytest.raises(ProcessError, match=r"/no/such/server does not start: No such file") as e:
        await start(transport, resident)
    assert e.value.exit_code == 127


async def test_a_command_that_ends_leaves_its_code_and_last_words(transport: HttpTransport):
    with pytest.raises(ProcessError, match=r"exit code 2 before it was ready.*--no-such-option"):
        await start(transport, served("--no-such-option"))


async def test_a_command_that_is_never_ready_is_killed(transport: HttpTransport):
    with pytest.raises(ProcessError, match=r"was not ready within 0.6 s and was killed; its last"):
        await start(transport, served("--never-ready", ready_timeout_s=0.6))


async def test_a_command_that_demands_another_key_says_so(transport: HttpTransport):
    resident = served("--no-health", env={"SERVER_KEY": "another"})

    with pytest.raises(ProcessError, match=r"served refuses the key it was given \(status 401\)"):
        await start(transport, resident)


async def test_cancelling_a_start_kills_the_command(transport: HttpTransport):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start, transport, served("--never-ready"))
        await until(lambda: psutil.Process().children(recursive=True)[1:])
        tasks.cancel_scope.cancel()

    assert psutil.Process().children() == []


async def test_a_launcher_without_a_transport_refuses_commands():
    with pytest.raises(ConfigurationError, match="has no transport to ask it"):
        await SubprocessLauncher().start(served())


async def test_a_command_gets_the_shares_it_is_given(transport: HttpTransport):
    core = min(psutil.Process().cpu_affinity()) if sys.platform == "linux" else None
    cores = () if core is None else (core,)
    bounds = ProcessBounds(nice=3, cores=cores, liveness=NEVER)
    process = await start(transport, served(bounds=bounds))

    server = server_of(process)
    assert server.nice() == min(psutil.Process().nice() + 3, 19)
    if core is not None:
        assert server.cpu_affinity() == [core]
    await process.stop()


@LINUX
async def test_a_core_that_is_not_there_is_named(transport: HttpTransport):
    bounds = ProcessBounds(cores=(4000,), liveness=NEVER)

    with pytest.raises(ProcessError, match="it cannot be kept to the cores 4000"):
        await start(transport, served(bounds=bounds))


async def test_a_command_runs_in_the_folder_it_is_given(transport: HttpTransport, tmp_path: Path):
    process = await start(transport, served(cwd=tmp_path))

    assert server_of(process).cwd() == os.path.realpath(tmp_path)  # noqa: ASYNC240  # takes no time
    await process.stop()


# -- ending ------------------------------------------------------------------------------------


async def test_stopping_ends_the_command_and_all_it_has_started(transport: HttpTransport):
    process = await start(transport, served("--worker"))
    everybody = psutil.Process(process.pid).children(recursive=True)
    assert len(everybody) == 2

    assert await process.stop() == -signal.SIGTERM
    assert not any(one.is_running() for one in everybody)


async def test_a_command_that_does_not_heed_is_killed_after_its_grace(transport: HttpTransport):
    process = await start(transport, served("--deaf", "--worker"))
    everybody = psutil.Process(process.pid).children(recursive=True)

    assert await process.stop(grace_s=0.05) == -signal.SIGKILL
    assert not any(one.is_running() for one in everybody)


@LINUX
async def test_a_worker_that_has_left_the_group_goes_with_the_command(transport: HttpTransport):
    process = await start(transport, served("--runaway"))
    everybody = psutil.Process(process.pid).children(recursive=True)

    await process.stop()
    assert not any(one.is_running() for one in everybody)


async def test_a_guard_that_was_stopped_ends_all_the_same(transport: HttpTransport):
    process = await start(transport, served())
    server = server_of(process)
    os.kill(process.pid, signal.SIGSTOP)

    assert await process.stop(grace_s=0.05) in (-signal.SIGKILL, -signal.SIGTERM)
    assert not server.is_running()


async def test_a_command_that_is_killed_is_seen_to_have_been(transport: HttpTransport):
    process = await start(transport, served("--worker"))
    server = server_of(process)
    (worker,) = server.children()
    server.kill()

    assert await process.wait() == -signal.SIGKILL
    assert process.killed_because is None
    assert not worker.is_running()


@LINUX
async def test_a_command_does_not_outlive_its_guard(transport: HttpTransport):
    process = await start(transport, served())
    server = server_of(process)
    os.kill(process.pid, signal.SIGKILL)

    assert await process.wait() == -signal.SIGKILL
    await until(lambda: has_ended(server))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_no_command_outlives_the_process_that_started_it(number: signal.Signals):
    with parent_of_guarded(*command("--deaf", "--worker")) as parent:
        assert parent.stdout is not None
        guard = psutil.Process(int(parent.stdout.readline()))
        everybody = [guard, *guard.children(recursive=True)]
        assert len(everybody) == 3
        parent.send_signal(number)

    await until(lambda: all(map(has_ended, everybody)))


# -- being watched -----------------------------------------------------------------------------

RESTLESS = Liveness(every_s=0.1, answer_within_s=0.3, failures=2)


async def test_a_process_that_was_stopped_is_noticed_and_killed(transport: HttpTransport):
    process = await start(transport, served(bounds=ProcessBounds(liveness=RESTLESS)))
    server_of(process).suspend()

    with anyio.fail_after(30):
        assert await process.wait() == -signal.SIGKILL
    assert process.killed_because == (
        "it hung: it did not compute, and left 2 questions in a row unanswered for 0.3 s"
    )


async def test_a_worker_that_is_stuck_behind_a_port_that_answers_is_noticed(
    transport: HttpTransport,
):
    process = await start(transport, served(bounds=ProcessBounds(liveness=RESTLESS)))
    await get(transport, process.endpoint, "/stick")
    assert (await get(transport, process.endpoint, "/health")).status == 200

    with anyio.fail_after(30):
        await process.wait()
    assert process.killed_because is not None


async def test_a_process_that_has_left_its_port_is_noticed(transport: HttpTransport):
    process = await start(transport, served(bounds=ProcessBounds(liveness=RESTLESS)))
    await get(transport, process.endpoint, "/leave")

    with anyio.fail_after(30):
        await process.wait()
    assert process.killed_because is not None


async def test_a_process_that_answers_with_errors_does_not_hang(transport: HttpTransport):
    liveness = Liveness(every_s=0.02, answer_within_s=5)
    bounds = ProcessBounds(liveness=liveness)
    process = await start(transport, served(served_name="x", command=command(), bounds=bounds))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.wait)
        await until(lambda: process.output.count("/v1/chat/completions") > 4)
        assert process.killed_because is None
        await process.stop()


async def test_what_is_asked_can_be_a_path_and_any_answer_is_one(transport: HttpTransport):
    liveness = Liveness(every_s=0.02, answer_within_s=5, path="/no/such/path")
    process = await start(transport, served(bounds=ProcessBounds(liveness=liveness)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.wait)
        await until(lambda: process.output.count("/no/such/path") > 4)
        assert process.killed_because is None
        await process.stop()


async def test_a_process_that_computes_is_left_alone_although_it_does_not_answer(
    transport: HttpTransport,
):
    bounds = ProcessBounds(liveness=Liveness(every_s=0.5, answer_within_s=0.5))
    process = await start(transport, served(bounds=bounds))
    await get(transport, process.endpoint, "/compute")

    server = server_of(process)
    before_s = server.cpu_times().user

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.wait)
        await until(lambda: server.cpu_times().user > before_s + 2)
        assert process.killed_because is None
        await process.stop()


async def test_a_process_that_takes_too_much_memory_is_killed_and_the_reason_is_known(
    transport: HttpTransport, tmp_path: Path
):
    bounds = ProcessBounds(memory_bytes=200_000_000, liveness=NEVER)
    process = await start(
        transport, served(bounds=bounds), log_folder=tmp_path, memory_every_s=0.05
    )
    await get(transport, process.endpoint, "/take?300000000")

    assert await process.wait() == -signal.SIGKILL
    assert process.killed_because is not None
    assert process.killed_because.endswith(" GB of memory, and may take 0.20")
    await until(lambda: str(process.killed_because) in (tmp_path / "served.log").read_text())


async def test_a_log_holds_what_was_written_but_not_the_key(
    transport: HttpTransport, tmp_path: Path
):
    process = await start(
        transport, served(env={"SERVER_KEY": "{key}"}), log_folder=tmp_path / "logs"
    )
    await process.stop()

    await until(lambda: "ended" in (tmp_path / "logs" / "served.log").read_text())
    first, said, *asked, last = (tmp_path / "logs" / "served.log").read_text().splitlines()
    assert first.endswith(f" process {process.pid}")
    assert said == "key [key]"
    assert any("GET /health" in line for line in asked)
    assert last == f"--- process {process.pid} ended: SIGTERM"
