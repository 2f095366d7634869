"""Nano's scenes drawn by programs that are not ours, and saved in the ways that pictures come in.

Matplotlib (Anti-Grain Geometry) and resvg (an SVG renderer) draw with edges, colour names, letters
and shapes of their own: the shortest test of whether nano sees shapes or its own renderer. No face
here is one of training's. All choices are ours.
"""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import png
import resvg_py
from matplotlib import patches
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D
from PIL import Image, ImageFont

from .pictures import CASES
from .scenes import Inscription, Scene, Thing

Size = tuple[int, int]  # width and height in pixels

_FACES = (
    ("matplotlib", "mpl-data/fonts/ttf/cmss10.ttf"),
    ("font_lato", "files/Lato-Regular.ttf"),
    ("font_lato", "files/Lato-Bold.ttf"),
    ("font_manrope", "files/Manrope-Bold.ttf"),
    ("font_source_serif_pro", "files/SourceSerifPro-Bold.ttf"),
)
_GROUNDS = """whitesmoke gainsboro silver beige linen lavender honeydew aliceblue mistyrose papayawhip thistle tan
    lightsteelblue rosybrown cadetblue darkseagreen slategray dimgray darkslategray midnightblue saddlebrown""".split()
_CLEAREST = 6  # a ground is drawn from so many that differ most from what stands on it
_SHADES = ("plain", "linear", "radial")
_DPI = 64  # a power of two: sides in inches then come back as the same whole pixels
_JPEG_QUALITY = 60
_SMALL_PX, _LARGE_PX = 96, 3000
# Turning the stored picture clockwise by what its tag says gives the upright one (Exif 2.3, tag 0x0112).
_ORIENTATION = 0x0112
_STORED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Look:
    """How a scene is drawn: `grounds` are colour names; `turns`, in degrees, and `edges` have one entry a thing."""

    program: str
    palette: str
    grounds: tuple[str, str]
    shade: str
    face: tuple[str, str]
    case: str
    turns: tuple[float, ...]
    edges: tuple[bool, ...]


def sample_look(scene: Scene, rng: random.Random) -> Look:
    """A random look on which everything in the scene stands out from the ground."""
    clear = sorted(_GROUNDS, key=lambda ground: _clearness(ground, scene))[-_CLEAREST:]
    ground = clear.pop(rng.randrange(len(clear)))
    program = rng.choice(tuple(_PROGRAMS))
    tilt, edged = rng.choice((0.0, 8.0)), rng.random() < 0.25
    return Look(
        program=program,
        palette=rng.choice(("", "xkcd:")) if program == "matplotlib" else "",
        grounds=(ground, min(clear, key=lambda other: _distance(to_rgb(ground), to_rgb(other)))),
        shade=rng.choice(_SHADES),
        face=rng.choice(_FACES),
        case=rng.choices(CASES, (0.7, 0.15, 0.15))[0],
        turns=tuple(rng.uniform(-tilt, tilt) for _ in scene.things),
        edges=tuple(edged and thing.colour != "black" for thing in scene.things),
    )


def paint(scene: Scene, look: Look, size: Size) -> Image.Image:
    """The scene as an RGB picture, the same at every size."""
    return _PROGRAMS[look.program](scene, look, size)


def _clearness(ground: str, scene: Scene) -> float:
    """How much the ground differs from what resembles it most; letters must differ in brightness."""
    things = [_distance(to_rgb(ground), to_rgb(thing.colour)) for thing in scene.things]
    ink = scene.inscription and abs(_luma(to_rgb(ground)) - _luma(to_rgb(scene.inscription.colour)))
    return min([*things, *([2 * ink] if ink is not None else [])], default=1.0)


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(weight * (a - b) ** 2 for weight, a, b in zip((0.3, 0.5, 0.2), one, other, strict=True)) ** 0.5


def _luma(colour: tuple[float, ...]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


@cache
def _face_file(face: tuple[str, str]) -> str:
    return str(resources.files(face[0]).joinpath(face[1]))


def _written(inscription: Inscription, look: Look, size: Size) -> tuple[str, float]:
    """The text as written, and its size in pixels: that of the scene, or less if it would be too wide."""
    text = {"lower": str.lower, "upper": str.upper, "capitalised": str.capitalize}[look.case](inscription.text)
    em_wide = ImageFont.truetype(_face_file(look.face), 1000).getlength(text) / 1000
    return text, min(inscription.height * min(size), 0.94 * size[0] / em_wide)


def _by_matplotlib(scene: Scene, look: Look, size: Size) -> Image.Image:
    width, height = size
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=look.grounds[0])
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    if look.shade != "plain":
        at = np.linspace(0, 1, 25)
        across, down = np.meshgrid(at, at)
        share = across if look.shade == "linear" else np.hypot(across - 0.5, down - 0.5)
        colours = LinearSegmentedColormap.from_list("ground", look.grounds)
        axes.pcolormesh(width * at, height * at, share, cmap=colours, shading="gouraud")
    for thing, turn, edge in zip(scene.things, look.turns, look.edges, strict=True):
        radius = thing.radius * min(size)
        patch = _patch(thing, (thing.x * width, height - thing.y * height), radius, turn)
        patch.set(facecolor=look.palette + thing.colour, edgecolor="black", linewidth=edge * 0.06 * radius * 72 / _DPI)
        axes.add_patch(patch)
    if scene.inscription:
        text, em_px = _written(scene.inscription, look, size)
        at = (scene.inscription.x * width, height - scene.inscription.y * height)
        font = FontProperties(fname=_face_file(look.face), size=em_px * 72 / _DPI)
        colour = look.palette + scene.inscription.colour
        axes.text(*at, text, color=colour, fontproperties=font, ha="center", va="center")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _patch(thing: Thing, at: tuple[float, float], radius: float, turn: float) -> patches.Patch:
    """A thing as matplotlib has it: its patches, and for star and cross its plot markers. y is up."""
    if thing.shape == "circle":
        return patches.Circle(at, radius)
    if thing.shape == "ring":
        return patches.Annulus(at, radius, 0.42 * radius)
    if thing.shape == "square":
        corner = (at[0] - 0.87 * radius, at[1] - 0.87 * radius)
        return patches.Rectangle(corner, 1.74 * radius, 1.74 * radius, angle=turn, rotation_point="center")
    if thing.shape == "triangle":
        return patches.RegularPolygon(at, 3, radius=1.08 * radius, orientation=np.radians(turn))
    marker = MarkerStyle({"star": "*", "cross": "P"}[thing.shape])  # both reach from -0.5 to 0.5
    to_place = Affine2D().scale(2 * radius).rotate_deg(turn).translate(*at)
    return patches.PathPatch(marker.get_path().transformed(marker.get_transform() + to_place))


def _by_resvg(scene: Scene, look: Look, size: Size) -> Image.Image:
    width, height = size
    first, second = look.grounds
    stops = f'<stop stop-color="{first}"/><stop offset="1" stop-color="{second}"/>'
    paints = {
        "plain": (first, ""),
        "linear": ("url(#g)", f'<linearGradient id="g" x2="0" y2="1">{stops}</linearGradient>'),
        "radial": ("url(#g)", f'<radialGradient id="g" r="0.7">{stops}</radialGradient>'),
    }
    fill, definition = paints[look.shade]
    parts = [definition, f'<rect width="{width}" height="{height}" fill="{fill}"/>']
    for thing, turn, edge in zip(scene.things, look.turns, look.edges, strict=True):
        place = f"translate({thing.x * width} {thing.y * height}) rotate({turn}) scale({thing.radius * min(size)})"
        parts.append(f'<g transform="{place}">{_svg_shape(thing, edge)}</g>')
    if scene.inscription:
        text, em_px = _written(scene.inscription, look, size)
        family = ImageFont.truetype(_face_file(look.face), 10).getname()[0]
        x, base = scene.inscription.x * width, scene.inscription.y * height + 0.33 * em_px
        style = f'font-family="{family}" font-size="{em_px}" text-anchor="middle" fill="{scene.inscription.colour}"'
        parts.append(f'<text x="{x}" y="{base}" {style}>{text}</text>')
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{"".join(parts)}</svg>'
    data = resvg_py.svg_to_bytes(svg_string=drawing, skip_system_fonts=True, font_files=[_face_file(look.face)])
    return Image.open(io.BytesIO(data)).convert("RGB")


def _svg_shape(thing: Thing, edge: bool) -> str:
    """A thing of radius 1 around the origin; a ring is a circle with a thick line, and has no edge. y is down."""
    fill = f'fill="{thing.colour}"' + (' stroke="black" stroke-width="0.06"' if edge else "")
    return {
        "circle": f'<circle r="1" {fill}/>',
        "ring": f'<circle r="0.79" fill="none" stroke="{thing.colour}" stroke-width="0.42"/>',
        "square": f'<rect x="-0.88" y="-0.88" width="1.76" height="1.76" {fill}/>',
        "triangle": f'<polygon points="0,-1.05 0.94,0.62 -0.94,0.62" {fill}/>',
        "star": '<polygon points="0,-1.05 0.24,-0.33 1,-0.32 0.39,0.13 0.62,0.85 0,0.42 -0.62,0.85 -0.39,0.13 '
        f'-1,-0.32 -0.24,-0.33" {fill}/>',
        "cross": f'<path d="M-.3-1h.6v.7h.7v.6h-.7v.7h-.6v-.7h-.7v-.6h.7z" {fill}/>',
    }[thing.shape]


_PROGRAMS: dict[str, Callable[[Scene, Look, Size], Image.Image]] = {"matplotlib": _by_matplotlib, "resvg": _by_resvg}


def _file(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def as_jpeg(scene: Scene, look: Look, size: Size) -> bytes:
    """A JPEG of low quality, colour at half resolution."""
    return _file(paint(scene, look, size), "JPEG", quality=_JPEG_QUALITY)


def as_16_bit_png(scene: Scene, look: Look, size: Size) -> bytes:
    """A PNG of 16 bits a channel, its levels the means of four pixels, so that the lower 8 bits tell something."""
    width, height = size
    drawn = np.asarray(paint(scene, look, (2 * width, 2 * height)), np.float32)
    levels = np.rint(drawn.reshape(height, 2, width, 2, 3).mean((1, 3)) * 257).astype(">u2")
    file = io.BytesIO()
    writer = png.Writer(width, height, greyscale=False, bitdepth=16)
    writer.write_packed(file, (row.tobytes() for row in levels))
    return file.getvalue()


def as_turned_jpeg(scene: Scene, look: Look, size: Size) -> bytes:
    """A JPEG whose pixels lie on their side or head, as a phone stores them, and whose EXIF says so."""
    orientation = sorted(_STORED)[len(scene.things) % len(_STORED)]
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return _file(paint(scene, look, size).transpose(_STORED[orientation]), "JPEG", quality=90, exif=exif)


def as_small_png(scene: Scene, look: Look, size: Size) -> bytes:
    """Drawn with a shorter side of 96 px."""
    return _file(paint(scene, look, _scaled(size, _SMALL_PX / min(size))), "PNG")


def as_large_jpeg(scene: Scene, look: Look, size: Size) -> bytes:
    """Drawn with a longer side of 3,000 px, and compressed as cameras do."""
    return _file(paint(scene, look, _scaled(size, _LARGE_PX / max(size))), "JPEG", quality=90)


def _scaled(size: Size, by: float) -> Size:
    return round(size[0] * by), round(size[1] * by)


WAYS: dict[str, Callable[[Scene, Look, Size], bytes]] = {
    "JPEG, quality 60": as_jpeg,
    "16-bit PNG": as_16_bit_png,
    "rotated by EXIF": as_turned_jpeg,
    "96 px": as_small_png,
    "3,000 px": as_large_jpeg,
}
