"""The template of a lateral head: landmarks and contours of an average face, in millimetres.

The film is 193.5 mm wide and 240 mm high. x points towards the face, which looks to the right, and
y points down. The contours are drawn freehand around typical landmark positions, and copy no
patient. `draw.py` varies the head, and `radiograph.py` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cephray.landmarks import SYNONYMS

Control = str | tuple[float, float]  # a landmark's abbreviation, or a point in millimetres
# What a contour moves with. Skin moves with the skull above the mouth, and with the jaw below it.
Motion = Literal["skull", "jaw", "skin"]

FILM_WIDTH_MM, FILM_HEIGHT_MM = 193.5, 240.0
CONDYLE_MM = (70.5, 124.0)  # the centre of the jaw's rotation
MOUTH_MM = (166.0, 181.0)  # y between which skin changes from the skull's to the jaw's motion
THROAT_MM = (55.0, 95.0)  # x between which skin changes from the resting neck to the chin's motion

LANDMARKS_MM: dict[str, tuple[float, float]] = {
    "S": (81.0, 104.0),
    "N": (139.0, 97.0),
    "Or": (128.0, 122.0),
    "Po": (60.0, 121.0),
    "A": (138.5, 152.5),
    "B": (135.5, 186.0),
    "Pog": (136.0, 199.0),
    "Me": (128.5, 205.5),
    "Gn": (133.8, 203.5),
    "Go": (72.5, 174.0),
    "LI": (142.0, 169.5),
    "UI": (144.5, 171.5),
    "UL": (156.0, 162.0),
    "LL": (153.5, 181.0),
    "Sn": (150.0, 149.5),
    "Pog'": (146.5, 201.0),
    "PNS": (97.5, 143.5),
    "ANS": (141.5, 145.5),
    "Ar": (67.0, 133.0),
    # What other sets have besides.
    "Co": (70.0, 119.5),
    "R": (67.6, 148.0),
    "N'": (147.0, 97.5),
    "Pn": (167.5, 136.5),
    "UIA": (133.5, 149.5),
    "LIA": (131.0, 190.5),
    "UPM": (124.5, 168.2),
    "LPM": (126.0, 167.2),
    "UMT": (119.3, 165.8),
    "LMT": (120.8, 166.9),
    "Ba": (60.0, 136.0),
    "D": (130.0, 195.0),
    "Pr": (143.0, 162.5),
    "Id": (140.3, 176.5),
    "G'": (151.0, 89.0),
    "A'": (151.8, 155.0),
    "B'": (148.8, 187.5),
    "Me'": (131.0, 214.0),
    "C": (103.0, 209.0),
}
# What other sets call some of them.
OTHER_ABBREVIATIONS = {other: one for one, others in SYNONYMS.items() for other in others}
JAW_LANDMARKS = frozenset(
    {"B", "Pog", "Me", "Gn", "Go", "LI", "LL", "Pog'", "Ar", "Co", "R", "LIA", "LPM", "LMT"}
    | {"D", "Id", "B'", "Me'", "C"}
)


@dataclass(frozen=True)
class Contour:
    """A smooth curve through control points, and its attenuation of the beam.

    Args:
        controls: control points.
        motion: what the contour moves with.
        closed: whether the last control point is joined to the first.
        fill: attenuation inside a closed curve. It is negative for air.
        rim: additional attenuation along the inner side of the edge.
        rim_mm: depth of the rim.
        stroke: attenuation of the curve itself.
        stroke_mm: width of the stroke.
        blur_mm: blur of all edges.
    """

    controls: tuple[Control, ...]
    motion: Motion = "skull"
    closed: bool = True
    fill: float = 0.0
    rim: float = 0.0
    rim_mm: float = 1.5
    stroke: float = 0.0
    stroke_mm: float = 0.8
    blur_mm: float = 0.25


def _tooth(
    tip: Control,
    towards: Control,
    width_mm: float,
    motion: Motion,
    roots: int = 1,
) -> list[Contour]:
    """Return body, enamel and pulp of a tooth from the tip of its crown to that of its root."""
    x, y = LANDMARKS_MM[tip] if isinstance(tip, str) else tip
    end_x, end_y = LANDMARKS_MM[towards] if isinstance(towards, str) else towards
    length = math.hypot(end_x - x, end_y - y)
    along = ((end_x - x) / length, (end_y - y) / length)

    def at(depth: float, side: float) -> tuple[float, float]:
        reach, offset = depth * length, side * width_mm / 2
        return (
            x + along[0] * reach - along[1] * offset,
            y + along[1] * reach + along[0] * offset,
        )

    edge: tuple[Control, ...] = (tip,)
    if roots > 1:
        edge = (at(0.02, 0.7), at(0.06, 0.0), at(0.02, -0.7))
    crown = (*edge, at(0.12, -0.95), at(0.25, -1.0), at(0.4, -0.8))
    crown_back = (at(0.4, 0.8), at(0.25, 1.0), at(0.12, 0.95))
    root: tuple[Control, ...]
    if roots > 1:
        root = (at(0.7, -0.75), at(1.0, -0.6), at(0.8, -0.2), at(0.62, 0.0), at(0.8, 0.2))
        root += (at(1.0, 0.6), at(0.7, 0.75))
    else:
        root = (at(0.7, -0.5), at(0.95, -0.15), at(1.0, 0.0), at(0.95, 0.15), at(0.7, 0.5))
    pulp = (at(0.25, 0.0), at(0.4, 0.14), at(0.85, 0.0), at(0.4, -0.14))
    return [
        Contour((*crown, *root, *crown_back), motion, fill=0.3, rim=0.12, rim_mm=0.8),
        Contour((*crown, *crown_back), motion, fill=0.28, blur_mm=0.35),
        Contour(pulp, motion, fill=-0.12, blur_mm=0.4),
    ]


def _teeth() -> list[Contour]:
    contours = _tooth("UI", "UIA", 7.0, "skull")
    contours += _tooth("LI", "LIA", 5.6, "jaw")
    rows: Sequence[tuple[float, float, int]] = (
        (137.5, 6.5, 1),
        (131.0, 6.5, 1),
        (124.5, 6.8, 1),
        (116.0, 9.8, 2),
        (106.0, 9.2, 2),
    )
    for x, width, roots in rows:
        bite = 170.6 - 0.17 * (142.0 - x)  # height of the occlusal plane
        contours += _tooth((x, bite + 0.6), (x - 3.5, bite - 19.0), width, "skull", roots)
        contours += _tooth((x + 1.5, bite - 0.4), (x - 2.5, bite + 19.0), width, "jaw", roots)
    return contours


def _vertebrae() -> list[Contour]:
    contours = [
        # atlas: anterior arch, posterior arch; axis: dens and body
        Contour(((61, 141), (63.5, 145), (61, 149), (59, 145)), fill=0.14, rim=0.2),
        Contour(((22, 143), (30, 141), (38, 145), (31, 149), (23, 149)), fill=0.12, rim=0.2),
        Contour(
            ((54, 139), (58, 142), (57.5, 152), (61, 163), (58, 166), (46, 165), (48, 153)),
            fill=0.16,
            rim=0.22,
        ),
        Contour(((15, 164), (28, 155), (42, 160), (40, 166), (25, 170)), fill=0.1, rim=0.18),
    ]
    for level in range(4):
        x, y = 51.0 - 2.6 * level, 174.5 + 17.0 * level
        body = (
            (x - 8, y - 6.5), (x - 1, y - 5.5), (x + 7, y - 6), (x + 6.5, y), (x + 9, y + 7),
            (x + 1, y + 6), (x - 7, y + 6), (x - 7, y),
        )  # fmt: skip
        spine = (
            (x - 9, y - 5),
            (x - 18, y - 2),
            (x - 31, y + 5),
            (x - 30, y + 9),
            (x - 11, y + 5),
        )
        contours.append(Contour(body, fill=0.16, rim=0.24, rim_mm=1.2))
        contours.append(Contour(spine, fill=0.1, rim=0.17, rim_mm=1.2, blur_mm=0.5))
    return contours


_SKIN: tuple[Control, ...] = (
    (72, 9), (104, 15), (130, 31), (146, 54), (151, 76), "G'", "N'", (150, 106),
    (156.5, 118), (165, 130), "Pn", (163.5, 141.5), (156, 143.5), "Sn", "A'",
    "UL", (155.2, 167), (150.3, 171.8), (152.8, 176), "LL", "B'", (146, 193), "Pog'",
    (142, 209), "Me'", (114, 209), "C", (98, 219), (99, 262), (-30, 262), (-12, 200),
    (-1, 160), (-8, 110), (-3, 65), (18, 30), (44, 13),
)  # fmt: skip

_VAULT: tuple[Control, ...] = (
    "N", (143, 90), (144, 80), (141, 66), (132, 47), (117, 31), (96, 20), (72, 16), (46, 21),
    (23, 37), (8, 62), (2, 90), (5, 114), (16, 131), (31, 140), (46, 142), (58, 137), (66, 124),
    (73.5, 110), (77, 107.5), (81, 109), (85, 107.5), (88, 102), (96, 99.5), (112, 98), (128, 95),
)  # fmt: skip

_MANDIBLE: tuple[Control, ...] = (
    "Co", (66.2, 124), "Ar", "R", (68.2, 162), "Go", (86, 183), (103, 193),
    (118, 201.5), "Me", "Gn", "Pog", (135, 193), "B", (138, 180), "Id", (136, 178),
    (120, 177), (104, 172.5), (98, 164), (96, 150), (91.5, 134), (88.5, 133), (82, 140),
    (76.5, 132), (75, 123),
)  # fmt: skip

CONTOURS: tuple[Contour, ...] = (
    Contour(_SKIN, "skin", fill=0.26, rim=-0.13, rim_mm=5.0, blur_mm=0.5),
    Contour(_VAULT, fill=0.3, rim=0.45, rim_mm=3.0, blur_mm=0.4),
    # inner table of the vault, coronal suture, squama
    Contour(
        ((135, 82), (133, 66), (124, 49), (110, 35), (94, 26.5), (72, 23), (48, 28), (28, 42),
         (15, 64), (9, 90), (12, 111), (22, 125)),
        closed=False, stroke=0.16, stroke_mm=1.3, blur_mm=0.6,
    ),
    Contour(
        ((100, 22), (98, 34), (100, 48), (96, 62), (98, 76)),
        closed=False, stroke=-0.05, stroke_mm=0.8, blur_mm=0.5,
    ),
    # floor of the anterior fossa, greater wing, clivus, occipital base
    Contour(
        ((134, 91), (126, 95), (114, 98), (102, 99), (92, 99.5), (88.5, 98.5)),
        closed=False, stroke=0.3, stroke_mm=1.4, blur_mm=0.3,
    ),
    Contour(
        ((136, 96), (124, 99), (112, 103), (104, 109), (99, 120)),
        closed=False, stroke=0.2, stroke_mm=1.2, blur_mm=0.4,
    ),
    Contour(((74.5, 99), (72, 108), (67, 119), (60, 134), (64, 133), (71, 120), (76, 109)),
            fill=0.14, rim=0.2, blur_mm=0.4),
    Contour(
        ("Ba", (50, 142), (38, 142), (24, 137)),
        closed=False, stroke=0.25, stroke_mm=1.8, blur_mm=0.6,
    ),
    # sphenoid sinus; pituitary fossa around S, with clinoid processes
    Contour(((88, 106), (98, 104), (102, 111), (96, 119), (86, 117), (82, 112)),
            fill=-0.14, blur_mm=1.0),
    Contour(((77, 101), (86, 101), (86.5, 105), (81, 108.6), (76, 105.5)),
            fill=-0.35, blur_mm=0.6),
    Contour(
        ((90, 97.3), (87.3, 99.4), (87.4, 104.5), (84.5, 108.2), (81, 109.5), (77.5, 108.3),
         (75.2, 104.5), (75.5, 99.6), (77.3, 97.6)),
        closed=False, stroke=0.42, stroke_mm=1.1,
    ),
    # temporal bone, ear canal with Po as its highest point, ring of the ear rod
    Contour(((42, 112), (56, 106), (68, 110), (66, 124), (55, 134), (44, 128)),
            fill=0.2, blur_mm=3.0),
    Contour(((48, 126), (56, 130), (55, 143), (50, 148), (45, 138)),
            fill=0.1, rim=0.1, blur_mm=1.0),
    Contour(("Po", (63.2, 122.3), (64.5, 125.5), (63.2, 128.7), (60, 130), (56.8, 128.7),
             (55.5, 125.5), (56.8, 122.3)),
            fill=-0.2, stroke=0.45, stroke_mm=1.3),
    # frontal sinus, nasal bone from N, orbit with Or as its lowest point
    Contour(((137.5, 92), (134.5, 84), (137, 73), (140.3, 76), (140.3, 87)),
            fill=-0.3, rim=-0.1, blur_mm=0.5),
    Contour(("N", (143.5, 102), (147.5, 109.5), (151, 116.5), (146.5, 111), (140.5, 104),
             (135.5, 101)),
            fill=0.22, rim=0.2, rim_mm=0.9),
    Contour(((135, 103), (135.8, 112), (133, 119.5), "Or", (121, 120), (112, 114), (109, 107),
             (118, 101.5)),
            fill=-0.1, stroke=0.3, stroke_mm=1.1),
    Contour(
        ((136.5, 104), (137, 113), (134, 120.3), "Or", (121.5, 123.5)),
        closed=False, stroke=0.22, stroke_mm=1.6, blur_mm=0.35,
    ),
    # ethmoid cells and nasal conchae, zygomatic arch, cheek bone, maxillary sinus, fissure
    Contour(((101, 102), (134, 100), (137, 118), (137, 140), (106, 141), (99, 122)),
            fill=0.12, rim=0.04, rim_mm=2.5, blur_mm=1.6),
    Contour(((112, 128), (130, 126), (136, 133), (130, 137), (113, 135)),
            fill=0.07, blur_mm=0.9),
    Contour(((73, 122), (92, 121), (112, 124), (119, 129), (111, 129), (92, 125.5), (74, 126)),
            fill=0.07, rim=0.08, rim_mm=0.9, blur_mm=0.7),
    Contour(
        ((124, 121), (118, 128), (116, 136), (119, 143)),
        closed=False, stroke=0.22, stroke_mm=1.8, blur_mm=0.5,
    ),
    Contour(((104, 126), (120, 125), (131, 128), (134, 138), (126, 142), (106, 141)),
            fill=-0.16, rim=-0.05, blur_mm=0.7),
    Contour(((100.5, 121), (103, 128), (99.5, 141), (98.3, 141), (97.5, 129)),
            fill=-0.2, blur_mm=0.4),
    # maxilla: palate from PNS to ANS, front wall through A, alveolar process
    Contour(
        ("ANS", (139.4, 148.3), "A", (139.6, 157), "Pr", (137, 163), (118, 161.5),
         (103, 159), (100, 150), "PNS", (110, 142), (126, 142.8)),
        fill=0.15, rim=0.24, rim_mm=1.0,
    ),
    Contour(
        ("ANS", (137, 146.8), (127, 146.8), (113, 146.2), "PNS", (112, 142.6), (127, 143)),
        fill=0.2, rim=0.2, rim_mm=0.9,
    ),
    # soft palate, airway, tongue
    Contour(("PNS", (87, 148), (79, 160), (77, 167), (82, 163), (92, 151)),
            fill=0.1, blur_mm=0.8),
    Contour(((95, 133), (86, 136), (76, 150), (72, 172), (72, 200), (82, 225), (79, 190),
             (80, 168), (88, 150)),
            fill=-0.18, blur_mm=1.0),
    Contour(((126, 166), (108, 157), (90, 160), (84, 178), (96, 195), (118, 190)),
            fill=0.06, blur_mm=2.0),
    # mandible and its symphysis, mandibular canal, hyoid bone
    Contour(_MANDIBLE, "jaw", fill=0.2, rim=0.3, rim_mm=1.5),
    Contour(
        ("B", (135, 193), "Pog", "Gn", "Me", (123.5, 201), (124.5, 193), (129, 184), (133, 180)),
        "jaw", fill=0.08, rim=0.22, rim_mm=1.1,
    ),
    Contour(
        ((86, 152), (86, 165), (96, 177), (112, 187), (122, 190)), "jaw",
        closed=False, stroke=-0.08, stroke_mm=2.2, blur_mm=0.7,
    ),
    Contour(((78, 211), (90, 206), (96, 209), (84, 214)), fill=0.12, rim=0.12, blur_mm=0.5),
    *_vertebrae(),
    *_teeth(),
)  # fmt: skip
