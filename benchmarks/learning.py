"""The figures of `docs/selection.md`: how well selectors choose, and what that costs.

``make bench-selection`` runs all of it, ``DATA=folder`` on real outcome tables; ``--only NAME``
takes one part. It goes by the commands that users have, where there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from benchmarks.harness import ROOT

_Found: TypeAlias = dict[str, Any]

_SELECTORS: Final = (
    *("default", "ucb1", "ucb-tuned", "kl-ucb", "thompson", "nig-thompson", "epsilon-greedy"),
)
_FORGETTING: Final = {
    "window": ("sw-ucb-tuned", "sw-thompson"),
    "half-life": ("d-ucb-tuned", "d-thompson"),
}
_DELAYS: Final = (0, 10, 100, 1_000)
_TABLE_SELECTORS: Final = ("default", "ucb-tuned")
_BUDGET: Final = 0.3
_EXCHANGES_S: Final = (1.0, 5.0, 60.0, math.inf)


def regrets(options: argparse.Namespace) -> _Found:
    """Play the textbook problems, and one of them with ratings that come late."""
    size = ["--horizon", "300", "--runs", "5"] if options.quick else []
    learning = ["--selectors", ",".join(_SELECTORS)]
    found: _Found = {}
    for name in ("A", "B", "C", "D", "E", "F", "N1", "N2", "N3"):
        found[name] = _orchestrator("simulate", "--problem", name, *learning, *size)["selectors"]
        for how, selectors in _FORGETTING.items() if name.startswith("N") else ():
            given = ["--selectors", ",".join(selectors), f"--{how}", "1000"]
            played = _orchestrator("simulate", "--problem", name, *given, *size)
            found[name] |= played["selectors"]
    late = {
        str(delay): _orchestrator(
            "simulate", "--problem", "F", "--delay", str(delay), *learning, *size
        )["selectors"]
        for delay in _DELAYS
    }
    return {"problems": found, "delays": late}


def tables(options: argparse.Namespace) -> _Found:
    """Play every outcome table: one random half is known beforehand, the other is to come."""
    from orchestrator.analysis.tables import write_table

    found: _Found = {}
    for name, table in _outcome_tables(options):
        found[name] = {"prompts": len(table), "models": len(table.models)}
        with tempfile.TemporaryDirectory() as folder:
            known, to_come = Path(folder, "known"), Path(folder, "to_come")
            halves = table.halves(np.random.default_rng(0))
            write_table(halves[0], known)
            write_table(halves[1], to_come)
            seeds = ["--seeds", "1" if options.quick else "5", "--budget", str(_BUDGET)]
            for selector in _TABLE_SELECTORS:
                played = ["evaluate", str(to_come), "--selector", selector, *seeds]
                found[name][selector] = _orchestrator(*played)
                found[name][f"{selector}, warm"] = _orchestrator(*played, "--prior", str(known))
    return found


def estimators(options: argparse.Namespace) -> _Found:
    """Estimate from many logs of a router what always taking the best model would have reached."""
    from orchestrator.analysis.calibration import calibrate
    from orchestrator.analysis.generator import generate_table

    logs = 5 if options.quick else 1_000
    table = generate_table(4, prompts=4_000, models=4, tasks=3)
    hard = table.quality.mean(axis=1) < 0.6
    favoured = np.where(hard[:, None], [0, 0, 0.5, 0.5], [0.5, 0.5, 0, 0])
    target = np.tile(np.eye(4)[table.quality.mean(axis=0).argmax()], (len(table), 1))
    found: _Found = {}
    for size in (500, 2_000, 8_000):
        _progress(f"{logs} logs of {size} decisions")
        made = calibrate(table, 0.7 * favoured + 0.3 / 4, target, size=size, logs=logs, seed=1)
        found[str(size)] = {
            method: {name: getattr(one, name) for name in ("bias", "rmse", "coverage", "given")}
            for method, one in made.items()
        }
    return {"logs": logs, "sizes": found}


def merging(options: argparse.Namespace) -> _Found:
    """Let eight nodes share what they learn over a network that loses, repeats and reorders."""
    from orchestrator.analysis.fleet import FleetTrace, Network, simulate_fleet
    from orchestrator.analysis.problems import problem
    from orchestrator.selectors import make_selector

    runs, horizon = (2, 300) if options.quick else (40, 10_000)
    arms = problem("F")

    def played(nodes: int, every_s: float, number: int) -> FleetTrace:
        # A hundred requests per second, so that a minute is a long time.
        return simulate_fleet(
            make_selector("ucb-tuned"),
            arms,
            nodes=nodes,
            network=Network(every_s),
            horizon=horizon,
            seed=number,
            per_second=100.0,
        )

    found: _Found = {}
    for nodes, every_s in ((1, math.inf), *((8, every_s) for every_s in _EXCHANGES_S)):
        name = "one node" if nodes == 1 else f"every {every_s:g} s"
        name = "never" if nodes > 1 and every_s == math.inf else name
        _progress(f"{runs} fleets that exchange: {name}")
        traces = [played(nodes, every_s, number) for number in range(runs)]
        regret = np.array([trace.regret for trace in traces])
        found[name] = {
            "regret": float(regret[:, -1].mean()),
            "ci95": float(1.96 * regret[:, -1].std(ddof=1) / math.sqrt(runs)),
            "apart": max(_apart(trace) for trace in traces),
            "curve": regret.mean(axis=0)[:: max(horizon // 100, 1)].tolist(),
        }
    for one in found.values():
        one["inflation"] = one["regret"] / found["one node"]["regret"] - 1
    return {"runs": runs, "rounds": horizon, "exchanges": found}


def _apart(trace: Any) -> float:
    """Return how far the nodes' sums are at most from those of one node, relatively."""
    whole = trace.one.totals()
    largest = 0.0
    for node in trace.nodes:
        found = node.totals()
        for place, sums in whole.items():
            expected, got = np.array(sums), np.array(found[place])
            known = expected != 0
            largest = max(largest, float(np.max(abs(got[known] / expected[known] - 1))))
    return largest


def speed(options: argparse.Namespace) -> _Found:
    """Time decisions, outcomes and simulations, beside the peers that are installed."""
    quick = ["--quick"] if options.quick else ["--rounds", "3"]
    return {
        name: _json([sys.executable, "-m", f"benchmarks.{name}", "--json", *quick])
        for name in ("policies", "simulation")
    }


PARTS: Final[Mapping[str, Callable[[argparse.Namespace], _Found]]] = {
    part.__name__: part for part in (regrets, tables, estimators, merging, speed)
}


def main() -> None:
    """Run the parts and print what they found: Markdown, or one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of outcome tables; else generated ones")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; else all")
    parser.add_argument("--plot", type=Path, help="PNG file for the regret of fleets")
    options = parser.parse_args()
    found: _Found = {
        "machine": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "numpy": np.__version__,
        }
    }
    for name in options.only or PARTS:
        found[name] = PARTS[name](options)
    if options.plot is not None and "merging" in found:
        _plot(found["merging"], options.plot)
    if options.json:
        print(json.dumps(found))
    else:
        from benchmarks.learning_report import report

        print(report(found))


# -- means -----------------------------------------------------------------------------------------


def _outcome_tables(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    from orchestrator.analysis.generator import generate_table
    from orchestrator.analysis.tables import read_table

    if options.data is None:
        prompts = 100 if options.quick else 4_000
        for seed in (1, 2, 3):
            yield f"generated {seed}", generate_table(seed, prompts=prompts, tasks=6)
        return
    folders = sorted({path.parent for path in options.data.rglob("outcomes.csv*")})
    if not folders:
        sys.exit(f"there is no outcomes.csv in or below {options.data}")
    for folder in folders:
        _progress(f"reading {folder.name}")
        yield folder.name, read_table(folder)


def _orchestrator(*arguments: str) -> _Found:
    _progress(f"orchestrator {' '.join(arguments)}")
    return _json([sys.executable, "-m", "orchestrator", *arguments, "--json"])


def _json(command: list[str]) -> _Found:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: _Found = json.loads(done.stdout)
    return found


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _plot(found: _Found, path: Path) -> None:
    from matplotlib.figure import Figure

    from orchestrator.analysis.plots import COLOURS

    figure = Figure(figsize=(8, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot(
        title=f"problem F, 8 nodes, 100 requests per second, mean of {found['runs']} runs",
        xlabel="request",
        ylabel="cumulative regret of all nodes",
    )
    for (name, one), colour in zip(found["exchanges"].items(), COLOURS, strict=False):
        rounds = np.linspace(1, found["rounds"], len(one["curve"]))
        dash = "--" if name == "one node" else "-"
        axes.plot(rounds, one["curve"], dash, color=colour, label=name)
    axes.legend(title="nodes exchange")
    figure.savefig(path)


if __name__ == "__main__":
    main()
