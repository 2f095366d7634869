"""Every published data set by its name."""

from . import clips, pictures, speech
from .sets import Published

PUBLISHED: dict[str, Published] = {one.name: one for one in (*speech.SETS, *pictures.SETS, *clips.SETS)}
