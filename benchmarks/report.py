"""One table and one picture from the results of the speed benchmarks.

    python benchmarks/report.py results/*.json --out docs/speed.md          # and docs/images/speed.png

Where two files hold the same work, the later one counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from _peers import TITLES
from _results import FORMAT, Check, duration

SHARE = "share of the FMA peak"
RATIOS = ("times as fast as the fastest peer", "times as fast as a PyTorch loop", "PyTorch's script / ours")  # asked of ratios
# of Okabe and Ito, told apart by all eyes; a contender has the same everywhere
COLOURS = {"tsrnn": "#0072B2", "torch": "#D55E00", "keras": "#E69F00", "jax": "#009E73", "sklearn": "#999999",
           "keras-jax": "#CC79A7"}
HATCHES = {"keras": "///", "jax": "...", "sklearn": "xx", "keras-jax": "\\\\\\"}
TITLES = {**TITLES, "keras-jax": "Keras (JAX)"}


def read(paths: list[Path]) -> list[dict]:
    """The documents; ValueError for what is none of ours."""
    documents = []
    for path in paths:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"{path} has no results in format {FORMAT}; give files that benchmarks wrote with --json")
        documents.append(document)
    return documents


def speed_rows(documents: list[dict]) -> list[dict]:
    """The rows of all of them, scores of accuracy left out; of equal works the later one, in the earlier one's place."""
    rows = {}
    for document in documents:
        for row in document["rows"]:
            if "work" in row:
                rows[row["work"], row["what"]] = row
    return list(rows.values())


# ------------------------------------------------------------------------------------------------ the table


def markdown(documents: list[dict], picture: str | None = None) -> str:
    """Machine and versions, the table, and where the picture is."""
    rows = speed_rows(documents)
    peers = [name for name in TITLES if name != "tsrnn" and any(name in row["seconds"] for row in rows)]
    heads = ["work", "tsrnn", *(TITLES[name] for name in peers), "what is asked: measured", "GFLOP/s done", SHARE,
             "losses of ten steps, largest difference"]
    lines = [*provenance(documents), "", "| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    lines += ["| " + " | ".join(cells(row, peers)) + " |" for row in rows]
    lines += ["", "Medians of the turns, in brackets the median over the pairs of turns of peer / tsrnn. GFLOP/s count the "
                  "products that have to be done; the peak is that of a loop of multiply-adds on all threads in the same run."]
    return "\n".join(lines + ([f"\n![Speed beside the peers, and share of the peak]({picture})"] if picture else [])) + "\n"


def provenance(documents: list[dict]) -> list[str]:
    """What ran where and when, a line each; the same machine is told once."""
    lines = {}
    for document in documents:
        machine, versions = document["machine"], document["machine"]["versions"]
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines[f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['system']}; {told}."] = None
    for document in documents:
        settings = ", ".join(f"{name} {value}" for name, value in document["settings"].items())
        about = "; ".join(f"{one['version']}, {one['threads']} threads on {one['cores']} cores"
                          for one in document["contenders"].values())
        lines[f"- {document['benchmark']}, {document['machine']['date']}: {settings}{about and '; ' + about}."] = None
    return list(lines)


def cells(row: dict, peers: list[str]) -> list[str]:
    """A row of the table."""
    more, ratios = row["more"], row["ratios"]
    times = [duration(statistics.median(row["seconds"][name])) if name in row["seconds"] else "" for name in ("tsrnn", *peers)]
    for n, name in enumerate(peers, 1):
        times[n] += f" ({ratios[name]:.2f} ×)" if name in ratios else ""
    checks = [Check(**check) for check in row["checks"]]
    verdicts = "<br>".join([*map(verdict, checks), *([more["note"]] if "note" in more else [])])
    rate = f"{more['gflops']['done']:.0f}" if "gflops" in more else ""
    share = f"{more['share']:.0%}" if "share" in more else ""
    losses = ""
    if curves := more.get("losses"):
        ours = curves["tsrnn"]
        away = [f"{name} {max(abs(a - b) / max(abs(a), 1e-12) for a, b in zip(ours, curve)):.0e}"
                for name, curve in curves.items() if name != "tsrnn"]
        losses = "; ".join([f"{ours[0]:.4f} → {ours[-1]:.4f}", *away])
    return [f"{row['work']}, {row['what']}", *times, verdicts, rate, share, losses]


def verdict(check: Check) -> str:
    """Figure, bar, and whether it is met."""
    sign, told = ("≥" if check.at_least else "≤"), {None: "not measured", True: "met", False: "**missed**"}[check.met]
    show = "{:.0%}".format if check.what == SHARE else "{:.3g}".format
    return f"{check.what} {sign} {show(check.bar)}: {'' if check.value is None else show(check.value) + ', '}{told}"


# ------------------------------------------------------------------------------------------------ the picture


def draw(documents: list[dict], path: Path) -> None:
    """Two panels with a line a work: how many times our time each peer takes, and our share of the peak."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    rows = [row for row in speed_rows(documents) if row["ratios"] or "share" in row["more"]]
    if not rows:
        raise ValueError("there is nothing to draw: no row has a peer or a share of the peak; run a benchmark with --against")
    peers = [name for name in TITLES if name != "sklearn" and any(name in row["ratios"] for row in rows)]  # it is another model
    figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(11, 1.9 + 0.56 * len(rows)), width_ratios=(3, 1),
                                         layout="constrained")
    draw_ratios(left, rows, peers)
    draw_shares(right, rows)
    left.set_yticks(range(len(rows)), [f"{row['work']}\n{row['what']}" for row in rows], fontsize=8.5)
    left.set_ylim(len(rows) - 0.45, -0.55)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
        axes.set_axisbelow(True)
        for edge in range(1, len(rows)):
            axes.axhline(edge - 0.5, color="0.9", linewidth=0.8)
    machine = documents[-1]["machine"]
    threads = documents[-1]["settings"].get("threads", "all")
    figure.suptitle(f"tsrnn on a CPU: {machine['processor']}, {threads} threads, {machine['date'][:10]}", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_ratios(axes, rows: list[dict], peers: list[str]) -> None:
    """Bars from 1 on a log axis, to the right where the peer is slower; what is asked as a line across a work's bars."""
    height = 0.8 / max(1, len(peers))
    there = [[name for name in peers if name in row["ratios"]] for row in rows]
    values = [row["ratios"][name] for row, names in zip(rows, there) for name in names]
    for name in peers:
        places = [(y + (names.index(name) - (len(names) - 1) / 2) * height, row["ratios"][name])
                  for y, (row, names) in enumerate(zip(rows, there)) if name in names]
        axes.barh([y for y, _ in places], [ratio - 1 for _, ratio in places], height * 0.9, left=1, color=COLOURS[name],
                  hatch=HATCHES.get(name), edgecolor="white", linewidth=0, label=TITLES[name])
        for y, ratio in places:
            axes.annotate(f"{ratio:.{0 if ratio >= 10 else 1 if ratio >= 1 else 2}f}", (ratio, y), (3 if ratio >= 1 else -3, 0),
                          textcoords="offset points", va="center", ha="left" if ratio >= 1 else "right", fontsize=7)
    bars = [(y, check["bar"]) for y, row in enumerate(rows) for check in row["checks"] if check["what"] in RATIOS]
    if bars and peers:
        axes.vlines([bar for _, bar in bars], [y - 0.44 for y, _ in bars], [y + 0.44 for y, _ in bars], color="black",
                    linestyle=(0, (2, 1)), linewidth=1.6, label="asked, of the fastest there", zorder=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    low, high = min([0.9, *values]), max([2.0, *values, *(bar for _, bar in bars)])
    axes.set_xlim(low / 1.25, high * 1.35)
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if low / 1.25 <= tick <= high * 1.35]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(axis="x", color="0.88", linewidth=0.7)
    axes.set_xlabel("time of the peer / time of tsrnn (log axis): right of 1× tsrnn is faster")
    if peers:
        handles, labels = axes.get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda n: labels[n].startswith("asked"))
        axes.legend([handles[n] for n in order], [labels[n] for n in order], loc="lower center",
                    bbox_to_anchor=(0.5, 1.0), ncols=len(peers) + 1, frameon=False, fontsize=8.5)


def draw_shares(axes, rows: list[dict]) -> None:
    """Our part of the FMA peak, over the whole training step."""
    places = [(y, row["more"]["share"]) for y, row in enumerate(rows) if "share" in row["more"]]
    axes.barh([y for y, _ in places], [share for _, share in places], 0.5, color=COLOURS["tsrnn"])
    for y, share in places:
        inside = share > 0.15  # where no line of what is asked can cross it
        axes.annotate(f"{share:.0%}", (0.02 if inside else share + 0.02, y), va="center", fontsize=8,
                      color="white" if inside else "black")
    asked = [(y, check["bar"]) for y, row in enumerate(rows) for check in row["checks"] if check["what"] == SHARE]
    axes.vlines([bar for _, bar in asked], [y - 0.36 for y, _ in asked], [y + 0.36 for y, _ in asked], color="black",
                linestyle=(0, (2, 1)), linewidth=1.6)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"], fontsize=8.5)
    axes.grid(axis="x", color="0.88", linewidth=0.7)
    axes.set_xlabel("tsrnn's share of the FMA peak")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="One table and one picture of the results.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="that benchmarks wrote with --json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="Markdown; the picture goes to images/speed.png beside it. "
                                                                 "Without it the table is printed")
    arguments = parser.parse_args(argv)
    try:
        documents = read(arguments.files)
        if arguments.out is None:
            print(markdown(documents))
            return 0
        draw(documents, arguments.out.parent / "images" / "speed.png")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    arguments.out.write_text(markdown(documents, "images/speed.png"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
