"""The checkpoint that comes with cephray.

Its model card, `weights/README.md`, says what it was trained on, how accurate it is and what it is
not for.
"""

from __future__ import annotations

from pathlib import Path

from cephray.checkpoint.store import MANIFEST, Checkpoint, open_checkpoint
from cephray.errors import InputError

SHIPPED = Path(__file__).parent / "weights"


def shipped_checkpoint(folder: Path = SHIPPED) -> Checkpoint:
    """Open the checkpoint that comes with cephray.

    Raises:
        InputError: this installation lacks it, or it was changed.
    """
    if not (folder / MANIFEST).exists():
        raise InputError("no checkpoint came with this installation; give one by --checkpoint")
    return open_checkpoint(folder)
