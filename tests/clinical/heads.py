"""Three heads that look to the right, with every point that an analysis needs, for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cephray.landmarks import Landmark, LandmarkSet

SPACINGS_MM = (0.1, 0.25, 0.08)

# x, y in pixels of the three heads. The first one has a horizontal Frankfort line and ordinary
# proportions; the second one is of class II, with proclined incisors and a steep mandible; the
# third one is of class III and tipped forwards.
HEADS: dict[str, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "S": ((810, 1040), (400, 420), (1003, 1195)),
    "N": ((1400, 970), (644, 388), (1734, 1202)),
    "Or": ((1280, 1220), (590, 494), (1561, 1496)),
    "Po": ((600, 1220), (318, 482), (718, 1392)),
    "A": ((1390, 1530), (650, 620), (1642, 1893)),
    "B": ((1355, 1870), (606, 742), (1598, 2330)),
    "D": ((1310, 1930), (584, 766), (1535, 2392)),
    "Pog": ((1362, 1990), (600, 800), (1590, 2489)),
    "Me": ((1285, 2055), (566, 826), (1480, 2557)),
    "Gn": ((1335, 2035), (588, 818), (1553, 2540)),
    "Pm": ((1368, 1945), (604, 775), (1600, 2440)),
    "Go": ((725, 1740), (364, 670), (829, 2077)),
    "LI": ((1415, 1700), (640, 690), (1640, 2110)),
    "LIA": ((1330, 1895), (588, 760), (1560, 2345)),
    "UI": ((1440, 1715), (668, 696), (1622, 2121)),
    "UIA": ((1345, 1505), (628, 608), (1560, 1838)),
    "UMT": ((1190, 1660), (560, 682), (1400, 2050)),
    "LMT": ((1210, 1668), (552, 684), (1422, 2056)),
    "UPM": ((1275, 1680), (596, 688), (1490, 2075)),
    "LPM": ((1285, 1684), (590, 690), (1504, 2083)),
    "UL": ((1560, 1620), (722, 652), (1800, 2020)),
    "LL": ((1535, 1810), (690, 716), (1811, 2215)),
    "Sn": ((1500, 1495), (700, 606), (1770, 1850)),
    "Cm": ((1590, 1450), (738, 592), (1888, 1810)),
    "Pn": ((1675, 1365), (772, 556), (1990, 1700)),
    "Pog'": ((1465, 2010), (646, 806), (1727, 2500)),
    "PNS": ((975, 1435), (470, 580), (1165, 1720)),
    "ANS": ((1415, 1455), (662, 590), (1690, 1800)),
    "Ar": ((670, 1330), (342, 524), (790, 1548)),
    "Ba": ((620, 1430), (322, 566), (712, 1665)),
    "Co": ((700, 1195), (354, 470), (838, 1377)),
    "Pt": ((930, 1240), (452, 502), (1120, 1475)),
    "Ptm": ((940, 1420), (456, 574), (1118, 1700)),
    "Xi": ((800, 1640), (396, 640), (950, 1960)),
}
ALL_POINTS = LandmarkSet("all", tuple(Landmark(name, name) for name in HEADS))


def heads() -> NDArray[np.float64]:
    """Return the landmarks of the three heads: [3, K, 2]."""
    points: NDArray[np.float64] = np.swapaxes(np.array(list(HEADS.values()), float), 0, 1)
    return points


def moved(**points: tuple[float, float]) -> NDArray[np.float64]:
    """Return the first head with some of its points elsewhere: [K, 2]."""
    head: NDArray[np.float64] = heads()[0]
    for name, point in points.items():
        head[list(HEADS).index(name)] = point
    return head
