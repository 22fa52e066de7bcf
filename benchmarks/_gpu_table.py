"""The Markdown table of `bench_gpu.py`'s results: a line a work."""

from __future__ import annotations

import statistics

from _gpu_works import PHASES
from _results import Check, duration

TITLES = {"tsrnn": "tsrnn", "torch": "cuDNN", "torch graph": "cuDNN, graph", "torch tf32": "cuDNN, TF32",
          "torch graph tf32": "cuDNN, graph, TF32"}


def markdown(document: dict) -> str:
    """Card and versions, then for each work the phases of all contenders, errors, share of the roofline and what is asked."""
    card, machine = document.get("card") or {}, document["machine"]
    told = ", ".join(one["version"] for one in document["contenders"].values())
    lines = [f"{card.get('name', 'No card')}, {machine['date'][:10]}; {told}; NumPy {machine['versions']['numpy']}, Numba "
             f"{machine['versions']['numba']}."]
    if card:
        lines.append(f"Measured peaks: {card['fma_peak'] / 1e3:.1f} TFLOP/s of float32 multiply-adds, "
                     f"{card['bandwidth']:.0f} GB/s of copies.")
    lines += ["", "| work | contender | forward | backward | training step | step: times ours | of the roofline | "
                  "errors of outputs, gradients | asked |", "|" + " --- |" * 9]
    by_work: dict[str, dict] = {}
    for row in document["rows"]:
        by_work.setdefault(row["work"], {})[row["what"]] = row
    for work, rows in by_work.items():
        lines += list(layer(work, rows) if PHASES[-1] in rows else epoch(work, rows["epoch"]))
    lines += ["", "Medians; backward is forward with gradient less forward; ratios are medians over the pairs of turns. The "
                  "roofline is that of the products or of the least traffic, whichever takes longer."]
    if document.get("not_measured"):
        lines += ["", f"Not measured in the time given: {', '.join(document['not_measured'])}."]
    return "\n".join(lines) + "\n"


def layer(work: str, rows: dict):
    """Lines of one work, a contender each."""
    step = rows[PHASES[-1]]
    failed = step["more"]["failed"]
    for name in [name for name in TITLES if name in step["seconds"] or name in failed]:
        error = step["more"].get("errors", {}).get(name)
        errors = f"{error['outputs']:.0e}, {error['gradients']:.0e}" if error else ""
        if name in failed:
            yield f"| {work} | {TITLES[name]} | | | | | | {errors} | {failed[name]} |"
            continue
        times = [statistics.median(rows[phase]["seconds"][name]) for phase in PHASES]
        ratio = "" if name not in step["ratios"] else f"{step['ratios'][name]:.2f}"
        share = f"{step['more']['roofline'][name]:.0%}" if step["more"]["roofline"] else ""
        asked = "<br>".join(map(str, map(made, step["checks"]))) if name == "tsrnn" else ""
        yield (f"| {work} | {TITLES[name]} | {duration(times[0])} | {duration(max(0.0, times[1] - times[0]))} | "
               f"{duration(times[2])} | {ratio} | {share} | {errors} | {asked} |")


def epoch(work: str, row: dict):
    """Lines of the tutorial's epoch."""
    for name, turns in row["seconds"].items():
        asked = "<br>".join(map(str, map(made, row["checks"]))) if name == "tsrnn" else row["more"]["note"]
        ratio = "" if name not in row["ratios"] else f"{row['ratios'][name]:.2f}"
        yield f"| {work}, an epoch | {TITLES[name]} | | | {duration(statistics.median(turns))} | {ratio} | | | {asked} |"
    for name, why in row["more"]["failed"].items():
        yield f"| {work}, an epoch | {TITLES[name]} | | | | | | | {why} |"


def made(check: dict) -> Check:
    return Check(**check)
