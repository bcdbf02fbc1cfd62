"""Speed and memory beside what people use today: one run times both on the same data, network, sizes and threads.

    pip install '.[bench]'
    python scripts/bench.py --data CUB_200_2011 --weights resnet50-imagenet.pth --table docs/performance.md

Ratios are the result, absolute times are context. Both sides take turns, and each number is a median. `--only` chooses
rows. easyfsl 1.5.0 fails on a recent torch (its TaskSampler passes `data_source` to a Sampler that no longer takes it):
`bench_training.accept_data_source` lets torch's Sampler take it again, in this process alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from bench_clock import Bench, say
from bench_explanation import first_map, fit_steps, maps, memory, start
from bench_training import accept_data_source, data, testing, training


def machine(bench: Bench, threads: int) -> str:
    """The machine and the versions, in general terms."""
    gpu = f", {torch.cuda.get_device_name()}" if bench.device.type == "cuda" else ", no GPU"
    wanted = ("torch", "torchvision", "easyfsl", "captum")
    packages = ", ".join(f"{name} {version(name)}" for name in wanted if find_spec(name))  # not every row needs all
    cores = (
        f"{os.cpu_count()} cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()}), {threads} threads"
    )
    return f"{cores}{gpu}; Python {platform.python_version()}, {packages}; medians of {bench.repeats}."


def write_table(page: Path, table: str) -> None:
    """Puts the table between the page's markers."""
    text = page.read_text(encoding="utf-8")
    marked = r"(<!-- bench -->\n).*?(<!-- /bench -->)"
    new, count = re.subn(marked, lambda found: f"{found[1]}{table}\n{found[2]}", text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{page} holds no pair of the markers <!-- bench --> and <!-- /bench -->")
    page.write_text(new, encoding="utf-8")


ROWS = {
    "training": training,
    "data": data,
    "testing": testing,
    "maps": maps,
    "fit": fit_steps,
    "first_map": first_map,
    "start": start,
    "memory": memory,
}


def main() -> None:
    """Times what was asked for and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="rows; all without it")
    parser.add_argument("--data", type=Path, required=True, help="a CUB_200_2011 folder")
    parser.add_argument("--weights", default="none", help="a file for the resnet50; random without it, and as fast")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=5, help="a median is over as many")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--table", type=Path, help="a page with the markers, whose table is replaced")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    accept_data_source()
    bench = Bench(arguments)
    lines = ["| work | result | bar | met | context |", "| --- | --- | --- | --- | --- |"]
    for name in arguments.only:
        say(f"{name} ...")
        for row in ROWS[name](bench):
            lines.append(row.line())
            say(row.line())
    table = "\n".join([machine(bench, arguments.threads), "", *lines])
    print(table)
    if arguments.table:
        write_table(arguments.table, table)


if __name__ == "__main__":
    main()
