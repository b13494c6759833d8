"""Segments by an embedding model: trained from the command line, then served by."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import orjson
import pytest

from orchestrator import Orchestrator
from orchestrator.routing.segments import ByEmbedding
from orchestrator.testing.faults import FaultPlan, Late, failure
from orchestrator.testing.provider_server import ProviderServer
from tests.cli.command import Ran, command, command_beside, process
from tests.cli.test_segments import CODE, TRAVEL
from tests.cli.test_segments import written as listed
from tests.config.files import written

SERVES = '[selection]\nsegmenter = "centroids"\nsegments = "segments.json"\nembed_within_s = 30\n'


def pool(folder: Path, base_url: str, further: str = "", price: float = 2.0) -> Path:
    """Write a configuration of two models of a loopback provider, of which one embeds."""
    return written(
        folder,
        f"""
{further}
[providers.loop]
type = "openai_compatible"
base_url = "{base_url}"

[[models]]
key = "loop:vectors"
capabilities = ["embeddings"]
context_window = 64
price = {{ input = {price}, output = 0 }}

[[models]]
key = "loop:echo"
price = {{ input = 0, output = 0 }}
""",
    )


async def trained(folder: Path, *words: str, texts: list[str] | None = None) -> Ran:
    prompts = listed(folder / "prompts.csv", texts or [*CODE, *TRAVEL])
    out = str(folder / "segments.json")
    return await command_beside(
        *("segments", "train", prompts, "--out", out, "--segments", "2"),
        *("--embedding-model", "vectors", *words),
    )


def serving() -> ProviderServer:
    return ProviderServer(models=("vectors", "echo"))


async def test_what_is_trained_tells_requests_apart(tmp_path: Path):
    async with serving() as server:
        pool(tmp_path, server.base_url)
        ran = await trained(tmp_path, "--json")
        pool(tmp_path, server.base_url, SERVES)
        async with Orchestrator.from_config(tmp_path / "orchestrator.toml") as orchestrator:
            segments = []
            for prompt in ("a python function, please", "the night train to Bern", TRAVEL[0]):
                result = await orchestrator.generate(prompt)
                segments.append(orchestrator.decision(result.decision_id).segment)

    told = ran.json
    assert (told["embedding_model"], told["prompts"]) == ("loop:vectors", 7)
    assert sorted(segment["prompts"] for segment in told["segments"]) == [3, 4]
    assert segments[0] != segments[1] == segments[2]
    assert {segment.split(":")[0] for segment in segments} == {told["version"]}


async def test_prompts_are_embedded_in_batches_and_the_cost_is_told_before_and_after(
    tmp_path: Path,
):
    texts = [f"{kind} {n} of many words" for n in range(10) for kind in ("apple", "pear")]
    async with serving() as server:
        pool(tmp_path, server.base_url)
        ran = await trained(tmp_path, texts=[*texts, "", "  "])
        sent = [request.json["input"] for request in server.requests]

    assert ran.code == 0
    assert sorted(map(len, sent)) == [4, 16]
    assert [text for batch in sent for text in batch] == texts
    before, embedding, finding = ran.stderr.splitlines()
    assert before.startswith("loop:vectors reads about ")
    assert "tokens, for about $0.000" in before
    assert (embedding, finding) == ("embedding 20 prompts", "finding segments")
    assert "2 segments of 20 prompts for $0.000" in ran.stdout.splitlines()[0]


async def test_a_model_that_costs_nothing_says_so_and_empty_prompts_are_counted(tmp_path: Path):
    async with serving() as server:
        pool(tmp_path, server.base_url, price=0.0)
        ran = await trained(tmp_path, "--json", texts=[*CODE, *TRAVEL, " "])

    assert (ran.json["without_words"], ran.json["cost_usd"]) == (1, 0.0)
    assert "for nothing" in ran.stderr


async def test_a_long_prompt_is_cut_as_it_is_when_it_is_served(tmp_path: Path):
    async with serving() as server:
        pool(tmp_path, server.base_url)
        await trained(tmp_path, texts=[f"{CODE[0]} {'very ' * 5000} good", *TRAVEL])
        pool(tmp_path, server.base_url, SERVES)
        async with Orchestrator.from_config(tmp_path / "orchestrator.toml") as orchestrator:
            await orchestrator.generate(f"{CODE[0]} {'very ' * 5000} good")
        trained_on, served, _ = (request.json.get("input") for request in server.requests)

    assert trained_on[:1] == served
    assert len(served[0]) < 300


async def test_it_can_be_trained_where_the_configuration_already_names_its_file(tmp_path: Path):
    async with serving() as server:
        path = pool(tmp_path, server.base_url, SERVES)
        ran = await trained(tmp_path, "--config", str(path))

    assert ran.code == 0
    data = orjson.loads((tmp_path / "segments.json").read_bytes())
    assert ByEmbedding.from_dict(data).model == "loop:vectors"


async def test_a_provider_that_fails_leaves_no_file(tmp_path: Path):
    async with ProviderServer(
        models=("vectors", "echo"), faults=FaultPlan([(failure(401), 1.0)])
    ) as server:
        pool(tmp_path, server.base_url)
        ran = await trained(tmp_path)

    assert ran.code == 1
    assert ran.stderr.splitlines()[-1].startswith(("error: ", "hint: "))
    assert not (tmp_path / "segments.json").exists()


@pytest.mark.parametrize(
    ("words", "texts", "told"),
    [
        (("--embedding-model", "loop:vectors2"), None, "vectors2"),
        (("--embedding-model", "echo"), None, "loop:echo does not embed"),
        ((), ["", " "], "there is no word in any prompt"),
        ((), ["one", "one"], "1 different texts, too few for 2 segments"),
    ],
)
async def test_what_cannot_be_trained_is_said(
    tmp_path: Path, words: tuple[str, ...], texts: list[str] | None, told: str
):
    async with serving() as server:
        pool(tmp_path, server.base_url)
        ran = await trained(tmp_path, *words, texts=texts)

    assert ran.code == 2
    assert told in ran.stderr
    assert not (tmp_path / "segments.json").exists()


def test_a_pool_is_of_no_use_without_an_embedding_model(tmp_path: Path):
    prompts = listed(tmp_path / "prompts.csv", CODE)

    ran = command("segments", "train", prompts, "--config", "orchestrator.toml")

    assert ran.code == 2
    assert "without an embedding model no pool is needed" in ran.stderr


async def test_it_can_be_interrupted(tmp_path: Path):
    faults = FaultPlan([(Late(math.inf), 1.0)])
    async with ProviderServer(models=("vectors", "echo"), faults=faults) as server:
        config = str(pool(tmp_path, server.base_url))
        prompts, out = listed(tmp_path / "prompts.csv", CODE), tmp_path / "segments.json"
        words = ("--config", config, "--embedding-model", "vectors", "--out", str(out))
        async with process("segments", "train", prompts, *words) as running:
            assert running.stderr is not None
            await running.stderr.readuntil(b"embedding 4 prompts\n")
            running.send_signal(signal.SIGINT)
            _, told = await running.communicate()

    assert (running.returncode, told) == (130, b"")
    assert not out.exists()
