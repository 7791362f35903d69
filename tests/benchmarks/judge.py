"""Ours against a plain form, in alternating steps of one process; no conclusion where the machine is busy.

`make benchmark` prints the table, keeps it as results/benchmarks/<machine>.json and writes the tables of all machines
into docs/performance.md. A ratio below 1 says that ours takes less time.
"""

import json
import math
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from test_attention import definition, inputs, step
from test_network import papers_step
from torch import nn

from mtcp.core.load import Watch
from mtcp.core.startup import compute_with
from mtcp.models.attention import unscaled_attention
from mtcp.models.depthwise import Depthwise
from mtcp.models.normalisation import BatchNorm2d
from mtcp.store.environment import processor_name

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "results/benchmarks", ROOT / "docs/performance.md"
BEGIN, END = "<!-- ratios: written by make benchmark -->\n", "<!-- end of ratios -->\n"
#: Cores that other processes may use while a conclusion is drawn.
OTHERS = 0.1
ROUNDS = 7
#: Seconds of a round: the system counts the time of other processes in hundredths of a second.
SHORTEST = 0.2

Action = Callable[[], object]
Row = dict[str, Any]


def network(kind: str) -> tuple[Action, Action]:
    """(ours, plain): `train` is a whole step, `loss` the forward pass in training mode."""
    forms = papers_step(False), papers_step(True)
    for form in forms:
        form.network.train()
    return getattr(forms[0], kind), getattr(forms[1], kind)


def attention(positions: int) -> tuple[Action, Action]:
    """Forward and backward pass of the coherence attention and of its definition."""
    tensors = inputs(positions, torch.float32)
    return lambda: step(unscaled_attention, tensors), lambda: step(definition, tensors)


def batch_norm() -> tuple[Action, Action]:
    """Forward and backward pass of the precise layer and of the library's, on a channels-last map."""
    x = torch.randn(2, 256, 48, 64).contiguous(memory_format=torch.channels_last).requires_grad_()
    upstream = torch.randn_like(x)
    ours, plain = BatchNorm2d(256), nn.BatchNorm2d(256)
    return lambda: ours(x).backward(upstream), lambda: plain(x).backward(upstream)


def depthwise() -> tuple[Action, Action]:
    """Forward and backward pass of a depthwise convolution, 5x5, with this project's gradient and the library's."""
    x = torch.randn(8, 1152, 3, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = nn.Conv2d(1152, 1152, 5, padding=2, groups=1152, bias=False)
    ours = Depthwise(1152, 1152, 5, padding=2, groups=1152, bias=False)
    upstream = torch.randn_like(x)
    return lambda: ours(x).backward(upstream), lambda: plain(x).backward(upstream)


PAIRS: dict[str, Callable[[], tuple[Action, Action]]] = {
    "the paper's network, training step": lambda: network("train"),
    "the paper's network, forward pass": lambda: network("loss"),
    "coherence attention, 768 positions": lambda: attention(768),
    "coherence attention, 3,072 positions": lambda: attention(3072),
    "batch normalisation, 2x256x48x64": batch_norm,
    "depthwise convolution 5x5, 8x1152x3x4": depthwise,
}


def measured(name: str, ours: Action, plain: Action, rounds: int = ROUNDS) -> Row:
    """Take both in turns, after one call to warm up, and watch what other processes do meanwhile."""
    for form in (plain, ours):
        form()
    calls = max(1, math.ceil(SHORTEST / seconds_of(plain)))
    seconds: dict[Action, list[float]] = {ours: [], plain: []}
    watch = Watch()
    for number in range(rounds):
        for form in (ours, plain) if number % 2 else (plain, ours):
            seconds[form].append(seconds_of(form, calls))
    return row(name, seconds[ours], seconds[plain], watch.others() or 0.0)


def seconds_of(form: Action, calls: int = 1) -> float:
    """The mean time of one of `calls` calls."""
    before = time.perf_counter()
    for _ in range(calls):
        form()
    return (time.perf_counter() - before) / calls


def row(name: str, ours: list[float], plain: list[float], others: float) -> Row:
    """Median and quartiles of the rounds' ratios; `others` is in cores."""
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "name": name,
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "seconds": [round(statistics.median(ours), 5), round(statistics.median(plain), 5)],
        "others": round(others, 2),
    }


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "measured": date.today().isoformat(),
    }


def line(found: Row) -> str:
    low, high = found["quartiles"]
    return f"{found['ratio']:.2f} ({low:.2f} to {high:.2f})"


def page(results: list[dict[str, Any]]) -> str:
    """Return the table of all machines, one column each."""
    if not results:
        return "No quiet machine has been measured yet.\n"
    heads = [
        "{processor}; {threads} of {cores} cores; torch {torch}; {measured}".format(**kept["machine"])
        for kept in results
    ]
    lines = ["| ours : plain | " + " | ".join(heads) + " |", "|---|" + "---|" * len(results)]
    for name in PAIRS:
        cells = [next((line(found) for found in kept["rows"] if found["name"] == name), "") for kept in results]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def kept_results() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def write_page() -> None:
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + page(kept_results()) + END + rest.split(END)[1])


def main() -> int:
    """Measure every pair; exit status 1, with nothing kept, where other processes had more than `OTHERS` cores."""
    compute_with(torch.get_num_threads())  # both forms with the memory settings of every run
    about, rows = machine(), []
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print("| ours : plain | median (quartiles) | s ours | s plain | others' cores |\n|---|---|---|---|---|", flush=True)
    for name, build in PAIRS.items():
        rows.append(found := measured(name, *build()))
        cells = (name, line(found), *found["seconds"], found["others"])
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    if busiest := [found["name"] for found in rows if found["others"] > OTHERS]:
        print(
            f"No conclusion: the machine was busy during {len(busiest)} of {len(rows)} rows; repeat when it is quiet."
        )
        return 1
    RESULTS.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"\W+", "-", f"{about['processor']}-{about['threads']}-threads".lower())
    (RESULTS / f"{slug}.json").write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    write_page()
    return 0


if __name__ == "__main__":
    sys.exit(main())
