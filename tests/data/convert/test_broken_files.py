"""What is said of broken annotation files: where the fault is, and what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cephray.errors import InputError
from tests.data.convert.files import COCO, CVAT, parse


def shape(label: Any = "S", x: Any = 1, y: Any = 2, **others: Any) -> dict[str, Any]:
    return {"label": label, "points": [[x, y]], "shape_type": "point", **others}


def coco(**changes: Any) -> dict[str, Any]:
    return COCO | changes


HEADER = "film,landmark,x_px,y_px\n"
BROKEN: list[tuple[str, Any, str]] = [
    ("text", "1,2\n3,4", "a.file has 2 lines; 3 lines x,y are needed"),
    ("text", "1,2\n3;4\n5,6", "line 2: must be x,y in pixels, with decimal points and one comma"),
    ("text", "1,2\n3,5,4,5\n5,6", "line 2: must be x,y in pixels, with decimal points"),
    ("text", "1,2\n3,nan\n5,6", "line 2: must be x,y in pixels, or nan,nan"),
    ("labelme", "{", "a.file, line 1: not valid JSON"),
    ("labelme", "[1]", "must contain a JSON object"),
    ("labelme", {"shapes": 3}, "'shapes' must be a list; got 3"),
    ("labelme", {"shapes": [3]}, "shapes 1: must be an object"),
    ("labelme", {"shapes": [shape("Sela")]}, "shapes 1: .* has no 'Sela' .perhaps 'Sella'"),
    (
        "labelme",
        {"shapes": [shape("S"), shape("Pog'"), shape("sella")]},
        "shapes 3: 'sella' is marked twice .first at shapes 1., and N not at all",
    ),
    ("labelme", {"shapes": [shape(x="1,5")]}, "with a decimal point, not a comma"),
    ("labelme", {"shapes": [shape(y=None)]}, "x and y of 'S' must be numbers"),
    ("labelme", {"shapes": [shape(shape_type="circle")]}, "'S' is drawn as 'circle'"),
    ("labelme", {"shapes": [shape(points=[[1, 2], [3, 4]])]}, "must have one pair x, y"),
    ("labelme", {"shapes": [shape("ruler1")]}, "only one point of the ruler .* add 'ruler2'"),
    ("labelme", {"shapes": [], "imageWidth": -3, "imageHeight": 5}, "width of the film must be"),
    ("labelme", {"shapes": [], "spacing_mm": "0,1"}, "spacing_mm must be a positive number"),
    (
        "cephray",
        {"landmarks": [{"name": "S", "x_px": True, "y_px": 1}]},
        "must be numbers of pixels",
    ),
    ("cephray", {"landmarks": [], "size_px": 7}, r"size_px must be \[width, height\]"),
    ("cephray", {"landmarks": [], "ruler_px": [[1, 2]]}, "ruler_px must be two points"),
    ("cephray", {"landmarks": [], "class_labels": "1"}, "class_labels must be a list"),
    ("aariz", {"landmarks": [{"symbol": "S", "value": [1, 2]}]}, "value must be an object"),
    ("csv", "film,landmark,x\na,S,1\n", "must have the columns film,landmark,x_px,y_px"),
    ("csv", "film,landmark,x\n", "must have the columns film,landmark,x_px,y_px"),
    ("csv", HEADER + "a,S,1,5,2,5\n", "line 2: has 6 values for 4 columns; .* decimal point"),
    ("csv", HEADER + "a,S,1\n", "line 2: has 3 values for 4 columns"),
    ("csv", HEADER + "a,S,1,2\na,S,1,2\n", "line 3: 'S' is marked twice .first at line 2."),
    ("csv", HEADER + " ,S,1,2\n", "line 2: the film is missing"),
    (
        "csv",
        "film,landmark,x_px,y_px,spacing_mm\na,S,1,2,0.1\na,N,1,2,0.2\n",
        "film 'a' has several spacings",
    ),
    ("coco", coco(images=[{"id": 7}]), "images 1: file_name"),
    ("coco", coco(images=[]), "annotations 1: there is no image with the id 7"),
    (
        "coco",
        coco(annotations=[{"image_id": 7, "category_id": 1, "keypoints": [1, 2]}]),
        "has 2 values for 3 keypoints",
    ),
    (
        "coco",
        coco(annotations=[{"image_id": 7, "category_id": 1, "keypoints": [1, 2, 3] * 3}]),
        "visibility of 'Pog`' must be 0, 1 or 2",
    ),
    (
        "coco",
        coco(annotations=[COCO["annotations"][0]] * 2),
        "film 'left/a.png' is marked twice by reader 'r'",
    ),
    ("cvat", CVAT.replace("</image>", "", 1), "line 21: not valid XML .mismatched tag."),
    ("cvat", CVAT.replace("10.50,20.00", "1,2;3,4"), "line 7: 'S' must be one point x,y"),
    ("cvat", CVAT.replace('"N"', '"Na"'), "line 11: .* has no 'Na'"),
    ("cvat", CVAT.replace("image", "track"), "line 6: is an export of a video"),
    (
        "cvat",
        CVAT.replace("<annotations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>"),
        "line 2: has a document type",
    ),
    (
        "cvat",
        CVAT.replace('<polygon label="vertebra"', '<polygon label="S"'),
        "drawn as 'polygon'",
    ),
]


@pytest.mark.parametrize(("name", "content", "said"), BROKEN)
def test_broken_files_say_where_and_what_to_do(name: str, content: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(name, content)
    message = str(caught.value)
    assert re.search(said, message), message
    assert "\n" not in message
    assert "a.file" in message or "film" in message
