"""The panel under the hood, as HTML without a file: what a turn took, and thumbnails of what was seen and heard."""

import base64
import io
from collections.abc import Sequence
from html import escape

from .conversations import Progress
from .witness import Look

EMPTY = '<p class="quiet">Ask something: what it took, and what was seen and heard, will stand here.</p>'
THUMBNAIL_PX = 160


def panel_html(progress: Progress) -> str:
    """The last piece of a turn, which carries the facts, as a list of numbers and rows of thumbnails."""
    facts, seen = progress.facts or {}, progress.seen
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{_number(value)}</dd></div>" for name, value in facts.items())
    parts = [f"<dl>{rows}</dl>"]
    if seen is not None:
        frames = f"Frames seen: {len(seen.frames)} of {seen.num_frames}"
        parts += [_row("Tiles seen", seen.tiles), _row(frames, seen.frames), _row("Heard", seen.sounds, "heard")]
    return "".join(parts)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _row(title: str, looks: Sequence[Look], style: str = "tiles") -> str:
    if not looks:
        return ""
    figures = "".join(
        f'<figure><img alt="{escape(look.words)}" src="{_data_address(look)}">'
        f"<figcaption>{escape(look.words)}</figcaption></figure>"
        for look in looks
    )
    return (
        f'<section aria-label="{escape(title)}"><h3>{escape(title)}</h3><div class="{style}">{figures}</div></section>'
    )


def _data_address(look: Look) -> str:
    image = look.image.copy()
    image.thumbnail((max(THUMBNAIL_PX, image.width if image.height == THUMBNAIL_PX else 0), THUMBNAIL_PX))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
