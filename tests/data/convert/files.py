"""Annotation files as other programs write them, with a small landmark set."""

from __future__ import annotations

import json
from typing import Any

from cephray.data.convert import Labels, MarkedFilm, format_named
from cephray.landmarks import LandmarkSet

SMALL_SET = LandmarkSet.from_tree(
    {
        "name": "small",
        "landmarks": [
            {"name": "Sella", "abbreviation": "S", "aliases": ["turcica"]},
            {"name": "Nasion", "abbreviation": "N"},
            {"name": "Soft tissue pogonion", "abbreviation": "Pog'"},
        ],
        "lines": [{"name": "SN", "start": "S", "end": "N"}],
    }
)
LABELS = Labels(SMALL_SET)
K = len(SMALL_SET)

COCO: dict[str, Any] = {
    "licenses": [{"name": "", "id": 0, "url": ""}],
    "info": {"contributor": ""},
    "categories": [
        {
            "id": 1,
            "name": "skull",
            "supercategory": "",
            "keypoints": ["Pog`", "SELLA", "N"],
            "skeleton": [[1, 2]],
        },
        {"id": 2, "name": "box", "supercategory": ""},
    ],
    "images": [
        {"id": 7, "width": 1935, "height": 2400, "file_name": "left/a.png"},
        {"id": 8, "width": 1935, "height": 2400, "file_name": "right/a.png"},
        {"id": 9, "width": 1935, "height": 2400, "file_name": "b.png"},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 1,
            "segmentation": [],
            "area": 5.0,
            "bbox": [0, 0, 1, 1],
            "iscrowd": 0,
            "attributes": {"occluded": False, "keyframe": False},
            "keypoints": [1.5, 2.25, 2, 3, 4, 1, 0, 0, 0],
            "num_keypoints": 2,
        },
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 9, 9]},
        {
            "id": 3,
            "image_id": 8,
            "category_id": 1,
            "keypoints": [5, 6, 2, 7, 8, 2, 9, 10, 2],
            "attributes": {"reader": "anna"},
        },
    ],
}

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>1</id><labels><label><name>S</name><type>points</type></label></labels></task>
  </meta>
  <image id="0" name="films/a.png" width="1935" height="2400">
    <points label="S" source="manual" occluded="0" points="10.50,20.00" z_order="0">
    </points>
    <skeleton label="skull" source="manual" z_order="0">
      <attribute name="reader">anna &amp; bo</attribute>
      <points label="N" source="manual" outside="0" occluded="1" points="3.25,4.00">
      </points>
      <points label="Pog'" source="manual" outside="1" occluded="0" points="0.00,0.00">
      </points>
    </skeleton>
    <polygon label="vertebra" source="manual" occluded="0" points="0,0;1,0;1,1" z_order="0">
    </polygon>
  </image>
  <image id="1" name="b.png" width="100" height="200">
  </image>
</annotations>
"""


def parse(name: str, content: Any) -> list[MarkedFilm]:
    text = content if isinstance(content, str) else json.dumps(content)
    return format_named(name).parse(text, "a.file", "a", "r", LABELS)
