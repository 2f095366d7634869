"""Results for people: tables on the terminal, and the same as `report.md`."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from .published_tables import PaperRow, rows_of


def as_figure(told: dict[str, Any], percent: bool, with_interval: bool = True) -> str:
    """A figure, with its interval in brackets where it has one."""
    if told["value"] is None:
        return "-"
    scale = 100 if percent else 1
    text = f"{scale * told['value']:.1f}"
    if not with_interval or told["low"] is None:
        return text
    return f"{text} ({scale * told['low']:.1f} to {scale * told['high']:.1f})"


def _names(section: dict[str, Any]) -> list[str]:
    """The columns: the first figure under its common name, then every other that some language has."""
    others = [one["name"] for language in section["languages"].values() for one in language["figures"][1:]]
    return [section["measure"], *dict.fromkeys(others)]


def rows_by_language(section: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row a language: name, items, first figure with its interval, other figures."""
    percent, columns = section["percent"], _names(section)[1:]
    for language, told in section["languages"].items():
        first, *others = told["figures"]
        by_name = {one["name"]: as_figure(one, percent, with_interval=False) for one in others}
        name = f"{first['name']} " if " or " in section["measure"] else ""
        yield (
            language,
            str(told["items"]),
            name + as_figure(first, percent),
            *(by_name.get(column, "") for column in columns),
        )


def overall_rows(section: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The rows below the languages, where there are several."""
    blank = [""] * (len(_names(section)) - 1)
    told, percent = section["overall"], section["percent"]
    if len(section["languages"]) > 1:
        mean = f"mean of {len(section['languages'])} languages"
        yield mean, str(told["items"]), as_figure(told["macro"], percent), *blank
        yield "all items as one text", str(told["items"]), as_figure(told["corpus"], percent), *blank


def header(section: dict[str, Any]) -> list[str]:
    """The names of a table's columns."""
    unit = ", %" if section["percent"] else ""
    return ["language", "items", *(name + unit for name in _names(section))]


def title(section: dict[str, Any]) -> str:
    """What a table is about."""
    return f"{section['task']}, {section['data']}"


def paper_rows(section: dict[str, Any], limit: int | None) -> list[tuple[PaperRow, str]]:
    """The paper's rows of the task, each with what it is beside ours: the same data, or other."""
    languages = list(section["languages"])
    return [(row, row.beside(section["data"], languages, limit)) for row in rows_of(section["task"])]


def terminal_table(section: dict[str, Any]) -> Table:
    """A task's table for the terminal."""
    table = Table(*header(section), title=title(section))
    for row in rows_by_language(section):
        table.add_row(*row)
    table.add_section()
    for row in overall_rows(section):
        table.add_row(*row)
    return table


def markdown(results: dict[str, Any], speeds: dict[str, dict[str, Any]], plots: dict[str, str]) -> str:
    """The whole report. speeds: by task, of this run; plots: by task, the path of its picture."""
    settings = results["settings"]
    lines = [f"# Evaluation of {settings['model']}", "", *_settings_lines(settings), ""]
    for section in results["tasks"]:
        lines += _section(section, speeds[section["task"]], plots[section["task"]], settings["limit"])
    if settings["skipped"]:
        lines += ["## Left out", "", *(f"- {reason}" for reason in settings["skipped"].values()), ""]
    lines += ["## Versions", "", ", ".join(f"{name} {told}" for name, told in results["versions"].items()), ""]
    return "\n".join(lines)


def _settings_lines(settings: dict[str, Any]) -> list[str]:
    limit = "all items" if settings["limit"] is None else f"at most {settings['limit']} items a language"
    return [
        f"Tasks: {', '.join(settings['tasks'])}. Data: {limit}, batches of {settings['batch_size']}, seed "
        f"{settings['seed']}, greedy answers of at most {settings['max_new_tokens']} tokens.",
        "",
        "In brackets the interval that holds 95% of 1,000 bootstrap samples over items. WER and CER: Whisper's "
        "normaliser, edits of all utterances over units of all references; characters for Chinese, Japanese, Korean "
        "and Thai.",
    ]


def _section(section: dict[str, Any], speed: dict[str, Any], plot: str, limit: int | None) -> list[str]:
    lines = [f"## {title(section)}", "", *_markdown_table(header(section), rows_by_language(section))]
    lines += [*("| " + " | ".join(row) + " |" for row in overall_rows(section)), ""]
    lines += [f"![{title(section)}]({plot})", ""]
    if section["signatures"]:
        lines += ["sacrebleu: " + "; ".join(f"`{one}`" for one in section["signatures"]), ""]
    if "contamination" in section:
        lines += [_contamination_line(section["contamination"]), ""]
    lines += [_speed_line(speed), ""]
    if paper := paper_rows(section, limit):
        lines += ["The Llama 3 paper's figures:", ""]
        rows = ((row.title, row.metric, beside, _figures(row)) for row, beside in paper)
        lines += [*_markdown_table(["data", "metric", "beside the above", "figures"], rows), ""]
    return lines


def _figures(row: PaperRow) -> str:
    return ", ".join(f"{system} {figure:g}" for system, figure in row.figures.items())


def _contamination_line(told: dict[str, Any]) -> str:
    shares = ", ".join(f"{100 * share:.1f}% at {threshold}" for threshold, share in told["share"].items())
    return (
        f"Contamination (paper 5.1.4), items of which at least that share of the tokens lies in 8-grams of "
        f"{told['manifest']}: {shares}; {told['too_short']} items are too short to tell."
    )


def _speed_line(speed: dict[str, Any]) -> str:
    parts = [f"{speed['items']} items in {speed['seconds']:.1f} s of one process, batches of {speed['batch_size']}"]
    for key, words in (("rtfx", "RTFx"), ("rtfx_of_made_sound", "RTFx of the sound made")):
        if speed[key] is not None:
            parts.append(f"{words} {speed[key]:.1f}")
    for key, words in (("first_token_s", "time to first token"), ("first_audio_s", "time to first audio")):
        if told := speed[key]:
            parts.append(f"{words} {told['p50']:.3f} s median, {told['p95']:.3f} s at 95%")
    return "Speed of this run: " + "; ".join(parts) + "."


def _markdown_table(header: Sequence[str], rows: Any) -> list[str]:
    ruler = ["---" if at == 0 else "---:" for at in range(len(header))]
    return [f"| {' | '.join(cells)} |" for cells in (header, ruler, *rows)]
