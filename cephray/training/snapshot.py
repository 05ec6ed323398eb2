"""Ray Train's note of the checkpoints that it keeps, and what to do when that note is damaged.

A full disk or a kill can cut the note short, or leave folders in it that are gone; Ray then
refuses to start. Our own manifests say which checkpoints are complete; nothing is lost with it.
"""

from __future__ import annotations

import json

from cephray.storage import Place

SNAPSHOT = "checkpoint_manager_snapshot.json"


def forget_damaged_snapshot(run: Place) -> None:
    """Remove Ray's note from a run's folder where Ray could not start from it.

    Args:
        run: output folder.
    """
    path = run / SNAPSHOT
    if not path.exists():
        return
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))["checkpoint_results"]
        usable = all((run / entry["checkpoint_dir_name"]).is_dir() for entry in noted)
    except (ValueError, KeyError, TypeError):
        usable = False
    if not usable:
        path.unlink()
