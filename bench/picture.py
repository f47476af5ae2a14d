"""Draw the CPU time of each operation for all servers, with its spread."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

SERVERS = {"bare": "#9aa5b1", "plain": "#d9a441", "ours": "#1f5fa8"}
LEVEL = 8


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw bars with spread for concurrency 8.  The login has a chart of its own, because its hash dominates."""
    at_level = [result for result in results if result["concurrency"] == LEVEL]
    kinds = list(dict.fromkeys(result["database"] for result in at_level))
    figure, axes = plt.subplots(
        len(kinds), 2, figsize=(11, 3.6 * len(kinds)), width_ratios=(4, 1), squeeze=False, layout="constrained"
    )
    for kind, (many, login) in zip(kinds, axes, strict=True):
        mine = [result for result in at_level if result["database"] == kind]
        _bars(many, [result for result in mine if result["operation"] != "login"])
        _bars(login, [result for result in mine if result["operation"] == "login"])
        many.set_ylabel(f"{kind}\nCPU ms per request")
    axes[0][0].legend(frameon=False)
    figure.suptitle(f"Server CPU per request, concurrency {LEVEL}: median, lowest and highest")
    figure.savefig(path, dpi=120)


def _bars(axis: Any, results: list[dict[str, Any]]) -> None:
    operations = list(dict.fromkeys(result["operation"] for result in results))
    width = 0.8 / len(SERVERS)
    for offset, (server, colour) in enumerate(SERVERS.items()):
        own = [result for result in results if result["server"] == server]
        places = [operations.index(result["operation"]) + (offset - 1) * width for result in own]
        heights = [result["cpu_ms"] for result in own]
        errors = [
            [max(0, result["cpu_ms"] - result["cpu_ms_spread"][0]) for result in own],
            [max(0, result["cpu_ms_spread"][1] - result["cpu_ms"]) for result in own],
        ]
        bars = axis.bar(places, heights, width, yerr=errors, capsize=3, color=colour, label=server)
        axis.bar_label(bars, fmt="%.2g", fontsize=7, padding=2)
    axis.set_xticks(range(len(operations)), operations)
    axis.spines[["top", "right"]].set_visible(False)
