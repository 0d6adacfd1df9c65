"""What was measured, as numbers by scenario and figure: printed as a table, kept as JSON, checked against promises."""

import json
import statistics
from collections.abc import Mapping, Sequence

Rows = dict[str, dict[str, float]]
"""Scenario -> figure -> number."""


def table(title: str, runs: Sequence[Rows]) -> str:
    """Return one line per figure: the number, or minimum, median and maximum where there were several runs."""
    spread = len(runs) > 1
    lines = [title + (f", {len(runs)} runs: minimum, median, maximum" if spread else "")]
    for scenario, figures in runs[0].items():
        lines.append(f"\n{scenario}")
        for figure in figures:
            numbers = sorted(run[scenario].get(figure, 0.0) for run in runs)
            shown = [numbers[0], statistics.median(numbers), numbers[-1]] if spread else numbers
            lines.append(f"  {figure:<46}" + "".join(f"{_text(number):>10}" for number in shown))
    return "\n".join(lines)


def _text(number: float) -> str:
    return f"{number:.0f}" if float(number).is_integer() else f"{number:.2f}"


def as_json(objects: int, runs: Sequence[Rows]) -> str:
    """Return all runs as one JSON object."""
    return json.dumps({"objects": objects, "runs": list(runs)}, separators=(",", ":"))


def broken(rows: Rows, promises: Mapping[tuple[str, str], tuple[float, float]]) -> list[str]:
    """Return a sentence for each figure (scenario, name) that is not between its bounds, both included."""
    return [
        f"{scenario}: {figure} is {_text(rows[scenario][figure])}, not {_range(*bounds)}"
        for (scenario, figure), bounds in promises.items()
        if not bounds[0] <= rows[scenario][figure] <= bounds[1]
    ]


def _range(least: float, most: float) -> str:
    return _text(most) if least == most else f"{_text(least)} to {_text(most)}"
