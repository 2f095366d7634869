"""One picture a task: bars by language with their intervals."""

import io
from typing import Any

_COLOUR, _MEAN_COLOUR = "#4477aa", "#cc6677"


def bars(section: dict[str, Any]) -> bytes:
    """A task's first figure by language, best first, and the mean, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = 100 if section["percent"] else 1
    told = [(language, one["figures"][0]) for language, one in section["languages"].items()]
    told = [(language, one) for language, one in told if one["value"] is not None]
    told.sort(key=lambda pair: pair[1]["value"], reverse=section["better"] == "higher")
    figure = Figure(figsize=(max(4.0, 1.4 + 0.32 * len(told)), 3.8), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    values = [scale * one["value"] for _, one in told]
    # the interval of a skewed figure may not hold the figure itself
    below = [max(0.0, scale * (one["value"] - one["low"])) for _, one in told]
    above = [max(0.0, scale * (one["high"] - one["value"])) for _, one in told]
    axes.bar(range(len(told)), values, color=_COLOUR, yerr=[below, above], capsize=2, ecolor="#333333")
    axes.set_xlim(-1, len(told))
    axes.set_xticks(range(len(told)), [language for language, _ in told], rotation=60, ha="right", fontsize=8)
    mean = section["overall"]["macro"]["value"]
    if len(told) > 1 and mean is not None:
        axes.axhline(scale * mean, color=_MEAN_COLOUR, linewidth=1, label=f"mean {scale * mean:.1f}")
        axes.legend(fontsize=8)
    axes.set_ylabel(section["measure"] + (", %" if section["percent"] else ""))
    axes.set_title(f"{section['task']} ({section['better']} is better)\n{section['data']}", fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
