"""Files of an adaptation: the marked films that it reads, and the facts that it writes.

It imports no TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cephray.checkpoint import Checkpoint
from cephray.config import override
from cephray.data import MEAN, Record, read_dataset
from cephray.storage import Place, replace_text

if TYPE_CHECKING:
    from cephray.adapt.adaptation import Adaptation
    from cephray.adapt.figures import Figures

FEWEST_FILMS = 3
STAGES = 3
"""How often each film counts in the progress of an adaptation; see `adapt`."""
FACTS_FILE = "adaptation.json"


def read_marked(
    checkpoint: Checkpoint, data: Place, split: str = "all", given: Mapping[str, Any] | None = None
) -> list[Record]:
    """Read the films that a checkpoint is adapted to.

    Marks are read as those of the new films are, whatever the checkpoint was trained on: the mean
    of all readers, with the spacings of the data set.

    Args:
        checkpoint: names the landmark set.
        data: folder or URI of the data set, or an annotation file.
        split: split to read of a known folder layout.
        given: other values of keys `data.key`, as `override` takes them.

    Raises:
        InputError: If the data set cannot be read.
    """
    values = {"data.reader": MEAN, "data.spacing_mm": None, "data.ruler_mm": None, **(given or {})}
    return read_dataset(data, split, override(checkpoint.config, values).data)  # type: ignore[arg-type]


def write_facts(output: Path, adaptation: Adaptation, figures: Figures) -> None:
    """Write what an adaptation is worth into the folder of its checkpoint.

    Raises:
        OSError: If it cannot be written.
    """
    from cephray.adapt.text import adaptation_json

    text = json.dumps(adaptation_json(adaptation, figures), indent=1)
    replace_text(output / FACTS_FILE, text)
