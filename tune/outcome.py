"""The keys of a trial's reports, and the folder of its run.

Ray Tune carries the reports, Optuna keeps them. It knows neither.
"""

from __future__ import annotations

from pathlib import Path

# At the end of each epoch: its number, with the least error so far.
EPOCH = "epoch"
# In the last report: how the trial ended, and why if it failed. A trial that Ray Tune stops has
# no last report.
OUTCOME, REASON = "outcome", "reason"
COMPLETE, FAILED = "complete", "failed"
# Facts that are kept with a trial in addition to its objectives.
SECONDS, MEMORY, PARAMETERS = "seconds_per_epoch", "memory_gb", "parameters"
EPOCHS = "epochs"
# The driver that runs a trial, or ran it last.
DRIVER = "driver"


def trial_folder(output: Path, number: int) -> Path:
    """Return the output folder of a trial's run, in that of its search."""
    return output / "trials" / f"{number:04d}"
