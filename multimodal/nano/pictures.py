"""Drawing nano's scenes: a `Style` says how a scene looks, `draw` paints it.

What a scene says never depends on its style. All of it is our choice.
"""

import colorsys
import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .scenes import COLOURS, OTHER, Scene, Thing
from .shapes import Colour, paint_shape

Box = tuple[float, float, float, float]

# Every face is under the SIL Open Font License 1.1, Apache 2.0 (Roboto, Caladea) or the Bitstream
# Vera license (DejaVu). Held out are whole families, not weights of a family that was seen.
_FILES = {
    "dejavu sans": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"),
    "dejavu sans bold": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf"),
    "dejavu mono": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSansMono.ttf"),
    "dejavu serif": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSerif.ttf"),
    "stix": ("matplotlib", "mpl-data/fonts/ttf/STIXGeneral.ttf"),
    "stix bold": ("matplotlib", "mpl-data/fonts/ttf/STIXGeneralBol.ttf"),
    "roboto": ("font_roboto", "files/Roboto-Regular.ttf"),
    "roboto bold": ("font_roboto", "files/Roboto-Bold.ttf"),
    "source sans": ("font_source_sans_pro", "files/SourceSansPro-Semibold.ttf"),
    "source sans bold": ("font_source_sans_pro", "files/SourceSansPro-Bold.ttf"),
    "caladea": ("font_caladea", "files/Caladea-Regular.ttf"),
    "caladea bold": ("font_caladea", "files/Caladea-Bold.ttf"),
    "hanken grotesk": ("font_hanken_grotesk", "files/HankenGrotesk-Medium.otf"),
    "hanken grotesk bold": ("font_hanken_grotesk", "files/HankenGrotesk-Bold.otf"),
    "fjalla": ("font_fjallaone", "files/FjallaOne-Regular.ttf"),
    "fredoka": ("font_fredoka_one", "files/FredokaOne-Regular.ttf"),
    "lato": ("font_lato", "files/Lato-Regular.ttf"),
    "lato bold": ("font_lato", "files/Lato-Bold.ttf"),
    "manrope": ("font_manrope", "files/Manrope-SemiBold.ttf"),
    "source serif": ("font_source_serif_pro", "files/SourceSerifPro-Semibold.ttf"),
}
HELD_OUT_FACES = ("lato", "lato bold", "manrope", "source serif")
FACES = tuple(name for name in _FILES if name not in HELD_OUT_FACES)

GROUNDS = ("plain", "linear", "radial", "noisy", "cloudy", "striped")
HELD_OUT_GROUNDS = ("chequered", "two-tone")
HELD_OUT_HUES = (0.42, 0.58)  # teal: no training ground has it
CASES = ("lower", "upper", "capitalised")

# The plain colour names of the web, which other programs draw with: training mixes towards them.
_WEB_COLOURS: dict[str, Colour] = {
    "red": (255, 0, 0),
    "orange": (255, 165, 0),
    "yellow": (255, 255, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}


@dataclass(frozen=True)
class Style:
    """How a scene is drawn. `outline` is a share of a thing's radius, `noise` and `blur` are in levels and pixels."""

    ground: str
    ground_colours: tuple[Colour, Colour]
    face: str
    case: str
    supersample: int
    colour_jitter: float
    rotation: float
    outline: float
    blur: float
    noise: float
    jpeg_quality: int | None
    seed: int


def sample_style(rng: random.Random, *scenes: Scene, held_out: bool = False) -> Style:
    """A random style on which everything in the given scenes stands out from the ground.

    A `held_out` style has a face that training never draws, and a ground of a pattern or a hue that
    training never draws.
    """
    new_pattern = held_out and rng.random() < 0.5
    return Style(
        ground=rng.choice(HELD_OUT_GROUNDS if new_pattern else GROUNDS),
        ground_colours=_sample_ground_colours(rng, scenes, new_hue=held_out and not new_pattern),
        face=rng.choice(HELD_OUT_FACES if held_out else FACES),
        case=rng.choices(CASES, (0.7, 0.15, 0.15))[0],
        supersample=rng.choices((1, 2, 3), (0.1, 0.75, 0.15))[0],
        colour_jitter=rng.uniform(0, 14),
        rotation=rng.choice((0.0, 10.0)),
        outline=rng.uniform(0.05, 0.11) if rng.random() < 0.2 else 0.0,
        blur=rng.uniform(0.3, 0.9) if rng.random() < 0.15 else 0.0,
        noise=rng.uniform(1, 8) if rng.random() < 0.15 else 0.0,
        jpeg_quality=rng.randint(45, 95) if rng.random() < 0.2 else None,
        seed=rng.getrandbits(32),
    )


def draw(scene: Scene, style: Style, width_px: int, height_px: int) -> Image.Image:
    """The scene as an RGB picture of the given size: equal arguments give equal pixels."""
    rng, noise = random.Random(style.seed), np.random.default_rng(style.seed)
    ground = paint_ground(style, width_px, height_px, noise)
    scale = style.supersample
    canvas = ground.resize((width_px * scale, height_px * scale), Image.Resampling.NEAREST) if scale > 1 else ground
    brush = ImageDraw.Draw(canvas)
    for thing in scene.things:
        _draw_thing(brush, thing, style, canvas.size, rng)
    if scene.inscription:
        font, text, corner = _lay_out(scene, style, *canvas.size)
        brush.text(corner, text, font=font, fill=shade(scene.inscription.colour, style, rng), anchor="ls")
    picture = canvas.reduce(scale) if scale > 1 else canvas
    return _degrade(picture, style, noise)


def paint_ground(style: Style, width_px: int, height_px: int, noise: np.random.Generator) -> Image.Image:
    """What the style's things stand on."""
    return _PAINTERS[style.ground](style.ground_colours, width_px, height_px, noise)


def letter_boxes(scene: Scene, style: Style, width_px: int, height_px: int) -> list[Box]:
    """Where each letter of the inscription stands: left, top, right and bottom in pixels."""
    if scene.inscription is None:
        return []
    font, text, (left, base) = _lay_out(scene, style, width_px, height_px)
    edges = [left + font.getlength(text[:n]) for n in range(len(text) + 1)]
    _, top, _, bottom = font.getbbox(text, anchor="ls")
    return [(edges[n], base + top, edges[n + 1], base + bottom) for n in range(len(text))]


@lru_cache(maxsize=1024)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    package, file = _FILES[face]
    with resources.as_file(resources.files(package).joinpath(file)) as path:
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _lay_out(
    scene: Scene, style: Style, width: int, height: int
) -> tuple[ImageFont.FreeTypeFont, str, tuple[float, float]]:
    """Font, text as written and the left end of its base line, so that the ink is centred on its place."""
    inscription = scene.inscription
    text = {"lower": str.lower, "upper": str.upper, "capitalised": str.capitalize}[style.case](inscription.text)
    font = _font(style.face, max(6, round(inscription.height * min(width, height))))
    length = font.getlength(text)
    if length > 0.94 * width:
        font = _font(style.face, max(6, int(font.size * 0.94 * width / length)))
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    return font, text, (inscription.x * width - (left + right) / 2, inscription.y * height - (top + bottom) / 2)


def shade(name: str, style: Style, rng: random.Random) -> Colour:
    """The named colour, somewhere between ours and the web's, a little lighter or darker."""
    towards, light = rng.random(), rng.uniform(0.92, 1.04)
    mixed = [a + (b - a) * towards for a, b in zip(COLOURS[name], _WEB_COLOURS[name], strict=True)]
    jitter = style.colour_jitter
    red, green, blue = (min(255, max(0, round(level * light + rng.uniform(-jitter, jitter)))) for level in mixed)
    return red, green, blue


def unnamed(style: Style, rng: random.Random) -> Colour:
    """A colour like none that has a name, and unlike the ground."""
    named = [*COLOURS.values(), *_WEB_COLOURS.values()]
    apart = 130.0
    while True:
        red, green, blue = (rng.randrange(256) for _ in range(3))
        from_ground = min(_distance((red, green, blue), ground) for ground in style.ground_colours)
        if from_ground >= apart and min(_distance((red, green, blue), colour) for colour in named) >= 110:
            return red, green, blue
        apart *= 0.985


def _draw_thing(
    brush: ImageDraw.ImageDraw, thing: Thing, style: Style, size: tuple[int, int], rng: random.Random
) -> None:
    side = min(size)
    x, y, radius = thing.x * size[0] - 0.5, thing.y * size[1] - 0.5, thing.radius * side
    turn = math.radians(rng.uniform(-style.rotation, style.rotation))
    build = rng.random()  # arm width of a cross, points of a star, hole of a ring
    fill = unnamed(style, rng) if thing.colour == OTHER else shade(thing.colour, style, rng)
    if style.outline:
        edge = (0, 0, 0) if rng.random() < 0.4 and thing.colour != "black" else edge_of(fill)
        paint_shape(brush, thing.shape, x, y, radius, turn, build, edge, style.outline)
        radius *= 1 - style.outline
    paint_shape(brush, thing.shape, x, y, radius, turn, build, fill, 0.0)


def edge_of(fill: Colour) -> Colour:
    """The colour of an outline around this one."""
    red, green, blue = (level + 60 if max(fill) < 60 else round(level * 0.6) for level in fill)
    return red, green, blue


def _sample_ground_colours(rng: random.Random, scenes: tuple[Scene, ...], new_hue: bool) -> tuple[Colour, Colour]:
    """Two colours near each other, between which nothing in the scenes gets lost."""
    names = {thing.colour for scene in scenes for thing in scene.things} - {OTHER}
    written = {scene.inscription.colour for scene in scenes if scene.inscription}
    drawn = [colour for name in names | written for colour in (COLOURS[name], _WEB_COLOURS[name])]
    inks = [_luma(colour) for name in written for colour in (COLOURS[name], _WEB_COLOURS[name])]
    apart = 130.0
    while True:
        hue, saturation, value = _sample_hsv(rng, new_hue)
        first = _rgb(hue, saturation, value)
        shift = rng.choice((-1, 1)) * rng.uniform(0.05, 0.22)
        second = _rgb(hue, min(1.0, saturation * rng.uniform(0.7, 1.3)), min(1.0, max(0.02, value + shift)))
        between = tuple((a + b) // 2 for a, b in zip(first, second, strict=True))
        grounds = (first, second, between)
        legible = all(abs(_luma(ground) - ink) >= apart / 2.6 for ground in grounds for ink in inks)
        if legible and all(_distance(ground, colour) >= apart for ground in grounds for colour in drawn):
            return first, second
        apart *= 0.985


def _sample_hsv(rng: random.Random, new_hue: bool) -> tuple[float, float, float]:
    low, high = HELD_OUT_HUES
    hue = rng.uniform(low + 0.02, high - 0.02) if new_hue else (high + rng.random() * (1 - high + low)) % 1.0
    saturations, values = rng.choice((((0, 0.3), (0.78, 1.0)), ((0, 0.6), (0.05, 0.32)), ((0, 0.4), (0.32, 0.78))))
    saturation = rng.uniform(0.18, 0.5) if new_hue else rng.uniform(*saturations)
    return hue, saturation, rng.uniform(*values)


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * level) for level in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _luma(colour: Colour) -> float:
    """Brightness, 0 to 255 (Rec. 601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _distance(one: Colour, other: Colour) -> float:
    """How unlike two colours look: the weighted distance known as redmean, 0 to about 765."""
    mean = (one[0] + other[0]) / 2
    red, green, blue = (a - b for a, b in zip(one, other, strict=True))
    return math.sqrt((2 + mean / 256) * red**2 + 4 * green**2 + (2 + (255 - mean) / 256) * blue**2)


def _plain(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    return Image.new("RGB", (width, height), colours[0])


def _linear(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    corners = np.array([[colours[0], colours[0]], [colours[1], colours[1]]], np.float32)
    mixed = noise.random((2, 2, 1), np.float32)
    corners = corners * (1 - mixed) + corners[::-1] * mixed if noise.random() < 0.5 else corners
    corners = corners.transpose(1, 0, 2) if noise.random() < 0.5 else corners
    small = Image.fromarray(np.ascontiguousarray(corners).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC, box=(0.5, 0.5, 1.5, 1.5))


def _radial(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    mask = Image.radial_gradient("L").resize((width, height), Image.Resampling.BILINEAR)
    return Image.composite(_plain(colours[::-1], width, height, noise), _plain(colours, width, height, noise), mask)


def _noisy(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    channels, amplitude = noise.choice((1, 3)), noise.integers(6, 36)
    grain = noise.integers(-amplitude, amplitude + 1, (height, width, channels), np.int16)
    return Image.fromarray(np.clip(grain + np.array(colours[0], np.int16), 0, 255).astype(np.uint8))


def _cloudy(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    cells = int(noise.integers(3, 16))
    share = noise.integers(0, 256, (cells, cells), np.uint8)
    mask = Image.fromarray(share).resize((width, height), Image.Resampling.BICUBIC)
    return Image.composite(_plain(colours[::-1], width, height, noise), _plain(colours, width, height, noise), mask)


def _striped(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    period = max(4, round(min(width, height) * noise.uniform(0.04, 0.2)))
    across = noise.random() < 0.5
    at = np.arange(height if across else width)
    stripe = (at % period < period // 2)[:, None] if across else (at % period < period // 2)[None, :]
    return _two_colours(np.broadcast_to(stripe, (height, width)), colours)


def _chequered(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    cell = max(3, round(min(width, height) * noise.uniform(0.06, 0.25)))
    odd = (np.arange(height)[:, None] // cell + np.arange(width)[None, :] // cell) % 2 == 1
    return _two_colours(odd, colours)


def _two_tone(colours: tuple[Colour, Colour], width: int, height: int, noise: np.random.Generator) -> Image.Image:
    """Two halves along a straight line through the middle."""
    turn = noise.uniform(0, 2 * math.pi)
    down, right = np.arange(height)[:, None] / height - 0.5, np.arange(width)[None, :] / width - 0.5
    return _two_colours(math.cos(turn) * right + math.sin(turn) * down > 0, colours)


def _two_colours(second: np.ndarray, colours: tuple[Colour, Colour]) -> Image.Image:
    return Image.fromarray(np.array(colours, np.uint8)[second.astype(np.uint8)])


_PAINTERS: dict[str, Callable[..., Image.Image]] = {
    "plain": _plain,
    "linear": _linear,
    "radial": _radial,
    "noisy": _noisy,
    "cloudy": _cloudy,
    "striped": _striped,
    "chequered": _chequered,
    "two-tone": _two_tone,
}


def _degrade(picture: Image.Image, style: Style, noise: np.random.Generator) -> Image.Image:
    """Blur, sensor noise and JPEG artefacts, where the style has them."""
    if style.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(style.blur))
    if style.noise:
        grain = noise.normal(0, style.noise, (picture.height, picture.width, 3))
        picture = Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))
    if style.jpeg_quality:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=style.jpeg_quality)
        picture = Image.open(file).convert("RGB")
    return picture
