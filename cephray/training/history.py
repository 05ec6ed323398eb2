"""The history of a run: a line for each epoch, `history.csv`, and TensorBoard events.

The driver writes it from the rows that workers report. It knows neither driver nor workers.
"""

from __future__ import annotations

import csv
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from cephray.checkpoint import Row
from cephray.errors import InputError, RunError
from cephray.progress import duration
from cephray.storage import Place, RemotePath, replace_text

HISTORY, EVENTS = "history.csv", "tensorboard"


class HistoryWriter:
    """Takes the rows of a run as they come.

    An epoch that is reported again, because its workers were lost before its checkpoint was
    complete, replaces what was said of it.

    Args:
        folder: output folder of the run.
        epochs: of the whole run.
        earlier: rows of the epochs before a resumed run.
        show: takes each line.
    """

    def __init__(
        self, folder: Path, epochs: int, earlier: Sequence[Row], show: Callable[[str], None]
    ) -> None:
        self.path = folder / HISTORY
        self._epochs = epochs
        self._rows = list(earlier)
        self._show = show
        (folder / EVENTS).mkdir(exist_ok=True)
        # Without tensorboardX's thread and queue: on a full disk they never end.
        self._events = EventsWriter(str(folder / EVENTS / "events"))
        self._last_row_s: float | None = None  # when the last row came
        self._epoch_s: list[float] = []  # from each row of this process to the next
        if earlier:
            self._write()

    def add(self, row: Row) -> None:
        """Take the row of one epoch.

        Raises:
            OSError: the files could not be written; the line was shown.
        """
        epoch = int(row["epoch"])
        self._rows = [*self._rows[: epoch - 1], row]
        now_s = time.perf_counter()
        if self._last_row_s is not None:
            self._epoch_s.append(now_s - self._last_row_s)
        self._last_row_s = now_s
        self._show(self._line(row))
        self._write()
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name not in ("epoch", "score")
        ]
        self._events.write_event(
            Event(wall_time=time.time(), step=epoch, summary=Summary(value=values))
        )
        self._events.flush()

    def close(self) -> None:
        """End the events; what `add` could not write is given up."""
        with suppress(OSError):
            self._events.close()

    def _write(self) -> None:
        table = io.StringIO(newline="")
        # A run may have begun with a version that said less.
        names = dict.fromkeys(name for row in self._rows for name in row)
        writer = csv.DictWriter(table, fieldnames=list(names))
        writer.writeheader()
        writer.writerows(self._rows)
        replace_text(self.path, table.getvalue())

    def _line(self, row: Row) -> str:
        epoch = int(row["epoch"])
        parts = [
            f"epoch {epoch:>{len(str(self._epochs))}}/{self._epochs}",
            f"loss {row['loss']:.5f}",
            f"training {row['train_coarse_mre_mm']:.2f} → {row['train_refined_mre_mm']:.2f} mm",
        ]
        if "refined_mre_mm" in row:
            best = min(earlier["score"] for earlier in self._rows)
            parts.append(
                f"validation {row['coarse_mre_mm']:.2f} → {row['refined_mre_mm']:.2f} mm"
                + (" (best)" if row["score"] <= best else "")
            )
        parts.append(f"{row['films_per_s']:.1f} films/s")
        parts.append(
            f"waiting {row['waiting_percent']:.1f} %  exchange {row['exchange_percent']:.1f} %  "
            f"{row['memory_gb']:.1f} GB"
        )
        # The first epoch starts workers and compiles, and says nothing of the others. The median,
        # as an epoch whose workers were lost and replaced is as unlike the others.
        if self._epoch_s:
            left_s = median(self._epoch_s) * (self._epochs - epoch)
            parts.append(f"{duration(left_s)} left")
        return "  ".join(parts)


class RemoteHistoryWriter(HistoryWriter):
    """Writes on this machine, and uploads all of it after each epoch.

    A store that cannot be reached for a while costs no more than a line: the next epoch's upload
    brings what this one could not.
    """

    def __init__(
        self, folder: RemotePath, epochs: int, earlier: Sequence[Row], show: Callable[[str], None]
    ) -> None:
        self._staging = tempfile.TemporaryDirectory(prefix="cephray-history-")
        self._remote = folder
        super().__init__(Path(self._staging.name), epochs, earlier, show)

    def add(self, row: Row) -> None:
        """Take the row of one epoch."""
        super().add(row)
        self._upload("tried again after the next epoch")

    def close(self) -> None:
        """Flush the events, and upload for the last time."""
        super().close()
        self._upload("it is lost, but for the rows that the checkpoints hold")
        self._staging.cleanup()

    def _upload(self, otherwise: str) -> None:
        try:
            self._remote.upload(Path(self._staging.name))
        except (InputError, RunError) as error:
            self._show(f"{HISTORY} could not be uploaded ({error}); {otherwise}")


def open_history(
    folder: Place, epochs: int, earlier: Sequence[Row], show: Callable[[str], None]
) -> HistoryWriter:
    """Open the history of a run in its output folder, local or remote; see `HistoryWriter`."""
    if isinstance(folder, RemotePath):
        return RemoteHistoryWriter(folder, epochs, earlier, show)
    return HistoryWriter(folder, epochs, earlier, show)
