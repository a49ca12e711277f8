"""Draws what a slide scanner sees: a blood smear, and the label of a slide.

Owns colours and shapes. It must not know DICOM. No error leaves it.

The same random generator state gives the same picture. Cells are drawn once as sprites, from a radial gradient
through colour tables, and pasted many times: quick, and soft at the edges.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from moichord.sandbox.catalogue import Blood

Colour = tuple[int, int, int]
Sprite = Image.Image

# Pillow's radial gradient is 255 in the corners, hence 255 / sqrt(2) where the inscribed circle touches the edge.
_GRADIENT_AT_EDGE = 181
_PLASMA: Colour = (247, 236, 234)
_RIM: Colour = (205, 132, 134)
_PALE: Colour = (236, 204, 200)
_NUCLEUS: Colour = (92, 58, 128)
_CYTOPLASM: Colour = (216, 204, 226)
_EOSIN: Colour = (206, 92, 74)
_PLATELET: Colour = (158, 122, 178)


@dataclass(frozen=True, slots=True)
class Look:
    """A species' red cells: length and width in pixels, how pale the centre is (0 to 1), and whether nucleated."""

    length: int
    width: int
    pallor: float
    nucleated: bool = False


_LOOKS = {
    Blood.MAMMAL: Look(30, 30, 0.85),
    Blood.CAMELID: Look(32, 19, 0.1),
    Blood.BIRD: Look(42, 26, 0.0, nucleated=True),
    Blood.REPTILE: Look(52, 33, 0.0, nucleated=True),
}


def smear(width: int, height: int, blood: Blood, chance: Random) -> Image.Image:
    """A field of a stained smear, `width` x `height` pixels, RGB."""
    look = _LOOKS[blood]
    picture = _background(width, height, chance)
    reds = [_red_cell(look, chance) for _ in range(10)]
    whites = (_granulocyte, _granulocyte, _lymphocyte, _eosinophil)
    platelet = partial(_thrombocyte if look.nucleated else _platelet, chance)

    taken = _Ground(width, height)
    field = width * height / (1024 * 768)
    for _ in range(max(2, round(7 * field))):
        _paste(picture, chance.choice(whites)(look.nucleated, chance), taken.place(chance, 62, tries=40), chance)
    for _ in range(round(24 * field)):
        _paste(picture, platelet(), taken.place(chance, 20, tries=10), chance)
    for _ in range(round(2400 * field * 900 / (look.length * look.width))):
        _paste(picture, chance.choice(reds), taken.place(chance, (look.length + look.width) / 2 - 1, tries=3), chance)
    return _vignette(picture.filter(ImageFilter.GaussianBlur(0.6)))


def label(width: int, height: int, lines: list[str]) -> Image.Image:
    """A paper label with some lines of text and a bar code that nobody can scan, RGB."""
    picture = Image.new("RGB", (width, height), (250, 249, 244))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((4, 4, width - 5, height - 5), 10, outline=(60, 60, 60), width=2)
    font = ImageFont.load_default(size=height // 9)
    for number, line in enumerate(lines):
        pen.text((width // 12, height // 10 + number * height // 7), line, fill=(25, 25, 35), font=font)
    chance, x = _repeatable("".join(lines)), width // 12
    while x < width * 11 // 12:
        bar = chance.choice((2, 2, 4, 6))
        pen.rectangle((x, height * 6 // 10, x + bar - 1, height * 9 // 10), fill=(25, 25, 35))
        x += bar + chance.choice((2, 4))
    return picture


def overview(width: int, height: int, field: Image.Image) -> Image.Image:
    """The whole slide from afar: glass, frosted end, and a thumb-shaped film in the colour of `field`, RGB."""
    picture = Image.new("RGB", (width, height), (238, 240, 242))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, width // 4, height), fill=(214, 219, 226))
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).rounded_rectangle(
        (width * 3 // 10, height // 6, width * 9 // 10, height * 5 // 6), height // 3, fill=210
    )
    film = field.resize((1, 1), Image.Resampling.BOX).resize((width, height))
    picture.paste(film, (0, 0), mask.filter(ImageFilter.GaussianBlur(height / 40)))
    return picture


class _Ground:
    """Which parts of the field are covered: cells may touch but do not overlap. Discs of up to 64 pixels."""

    _MESH = 32

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._discs: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def place(self, chance: Random, diameter: float, tries: int) -> tuple[float, float] | None:
        """A free spot for a disc, or None if none was found in `tries`."""
        for _ in range(tries):
            x, y = chance.random() * self._size[0], chance.random() * self._size[1]
            if self._is_free(x, y, diameter / 2):
                key = (int(x // self._MESH), int(y // self._MESH))
                self._discs.setdefault(key, []).append((x, y, diameter / 2))
                return x, y
        return None

    def _is_free(self, x: float, y: float, radius: float) -> bool:
        column, row = int(x // self._MESH), int(y // self._MESH)
        for c in range(column - 2, column + 3):
            for r in range(row - 2, row + 3):
                for other_x, other_y, other_radius in self._discs.get((c, r), ()):
                    if math.hypot(x - other_x, y - other_y) < radius + other_radius:
                        return False
        return True


def _repeatable(text: str) -> Random:
    return Random(text)  # noqa: S311 - a picture, not a secret


def _blend(a: Colour, b: Colour, share: float) -> Colour:
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def _smooth(low: float, high: float, value: float) -> float:
    """0 below `low`, 1 above `high`, a soft step between."""
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return share * share * (3 - 2 * share)


def _disc(colour_at: Callable[[float], Colour], *, edge: float = 0.94) -> Sprite:
    """A round sprite, 256 x 256 RGBA: `colour_at` gives the colour from the centre (0) to the edge (1)."""
    distance = Image.radial_gradient("L")
    shares = [d / _GRADIENT_AT_EDGE for d in range(256)]
    table = [colour_at(min(1.0, share)) for share in shares]
    bands = [distance.point([colour[band] for colour in table]) for band in range(3)]
    alpha = distance.point([round(255 * (1 - _smooth(edge - 0.06, edge + 0.06, share))) for share in shares])
    return Image.merge("RGBA", (*bands, alpha))


def _spot(colour: Colour) -> Sprite:
    return _disc(lambda d: _blend(_blend(colour, (30, 10, 60), 0.25), colour, d))


def _put(canvas: Sprite, sprite: Sprite, x: float, y: float, width: float, height: float) -> None:
    """Lay `sprite` centred on (x, y) of `canvas`, resized."""
    small = sprite.resize((max(1, round(width)), max(1, round(height))), Image.Resampling.BILINEAR)
    canvas.alpha_composite(small, (max(0, round(x - width / 2)), max(0, round(y - height / 2))))


def _red_cell(look: Look, chance: Random) -> Sprite:
    tone = _blend(_RIM, (224, 160, 150), chance.uniform(0, 0.5))
    if look.nucleated:
        tone = _blend(tone, (222, 170, 140), 0.4)
    depth = look.pallor * chance.uniform(0.8, 1.0)
    middle = chance.uniform(0.2, 0.3)

    def colour(d: float) -> Colour:
        pale = _blend(_PALE, tone, 1 - depth * (1 - _smooth(middle, 0.72, d)))
        return _blend(pale, (170, 92, 104), 0.35 * _smooth(0.8, 1.0, d))

    cell = _disc(colour)
    if look.nucleated:
        _put(cell, _spot(_NUCLEUS), 128, 128, chance.uniform(84, 100), chance.uniform(96, 112))
    size = chance.uniform(0.92, 1.08)
    return cell.resize((round(look.length * size), round(look.width * size)), Image.Resampling.LANCZOS)


def _white_cell(cytoplasm: Colour, diameter: int) -> tuple[Sprite, Callable[[Sprite], Sprite]]:
    body = _disc(lambda d: _blend(cytoplasm, _blend(cytoplasm, (150, 130, 180), 0.5), _smooth(0.75, 1.0, d)))
    return body, lambda cell: cell.resize((diameter, diameter), Image.Resampling.LANCZOS)


def _granulocyte(nucleated_reds: bool, chance: Random) -> Sprite:
    """A neutrophil with its lobed nucleus; a heterophil with brick-red rods in birds and reptiles."""
    cell, finished = _white_cell(_CYTOPLASM if not nucleated_reds else (226, 200, 206), 56)
    if nucleated_reds:
        _granules(cell, _EOSIN, 60, chance, (16, 9))
    turn, lobe = chance.uniform(0, math.tau), _spot(_NUCLEUS)
    for number in range(chance.choice((3, 4)) * 2 - 1):
        angle, size = turn + number * 0.55, 74 if number % 2 == 0 else 40
        _put(cell, lobe, 128 + 46 * math.cos(angle), 128 + 46 * math.sin(angle), size, size)
    return finished(cell)


def _lymphocyte(_nucleated_reds: bool, chance: Random) -> Sprite:
    cell, finished = _white_cell((190, 196, 228), 42)
    _put(cell, _spot(_NUCLEUS), 128 + chance.uniform(-12, 12), 128 + chance.uniform(-12, 12), 190, 184)
    return finished(cell)


def _eosinophil(_nucleated_reds: bool, chance: Random) -> Sprite:
    cell, finished = _white_cell((228, 206, 214), 58)
    _granules(cell, _EOSIN, 110, chance, (18, 18))
    for x in (92, 160):
        _put(cell, _spot(_NUCLEUS), x, 128 + chance.uniform(-16, 16), 84, 92)
    return finished(cell)


def _granules(cell: Sprite, colour: Colour, count: int, chance: Random, size: tuple[int, int]) -> None:
    grain = _spot(colour)
    for _ in range(count):
        angle, radius = chance.uniform(0, math.tau), 104 * math.sqrt(chance.random())
        _put(cell, grain, 128 + radius * math.cos(angle), 128 + radius * math.sin(angle), *size)


def _platelet(chance: Random) -> Sprite:
    size = round(chance.uniform(8, 15))
    return _disc(lambda d: _blend(_PLATELET, _CYTOPLASM, d), edge=0.8).resize((size, size), Image.Resampling.LANCZOS)


def _thrombocyte(chance: Random) -> Sprite:
    """The nucleated counterpart of a platelet."""
    cell = _disc(lambda _d: (222, 214, 230))
    _put(cell, _spot(_NUCLEUS), 128, 128, 150, 190)
    return cell.resize((round(chance.uniform(18, 22)), 14), Image.Resampling.LANCZOS)


def _paste(picture: Image.Image, sprite: Sprite, place: tuple[float, float] | None, chance: Random) -> None:
    if place is None:
        return
    turned = sprite.rotate(chance.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
    corner = (round(place[0] - turned.width / 2), round(place[1] - turned.height / 2))
    picture.paste(turned, corner, turned)


def _background(width: int, height: int, chance: Random) -> Image.Image:
    """Plasma, uneven as a real film is."""
    clouds = Image.frombytes("L", (12, 9), chance.randbytes(108)).resize((width, height), Image.Resampling.BICUBIC)
    thick = Image.new("RGB", (width, height), _blend(_PLASMA, (236, 212, 216), 0.6))
    thick.paste(_PLASMA, (0, 0, width, height), clouds)
    return thick


def _vignette(picture: Image.Image) -> Image.Image:
    """The corners a little darker, as through a microscope."""
    shade = Image.radial_gradient("L").point([round(48 * _smooth(0.5, 1.0, d / 255)) for d in range(256)])
    picture.paste((150, 120, 130), (0, 0), shade.resize(picture.size, Image.Resampling.BICUBIC))
    return picture
