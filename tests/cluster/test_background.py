"""Work in a background thread."""

from __future__ import annotations

import threading

import pytest

from cephray.cluster.background import BackgroundWork


def test_it_works_beside_the_main_thread_and_keeps_its_error() -> None:
    seen: list[threading.Thread] = []
    done = BackgroundWork(lambda: seen.append(threading.current_thread()), "some-work")
    done.start()
    done.join(timeout=10)
    done.raise_error()
    assert seen == [done]
    assert done.daemon

    def fail() -> None:
        raise KeyboardInterrupt("within")

    failed = BackgroundWork(fail, "other-work")
    failed.start()
    failed.join(timeout=10)
    with pytest.raises(KeyboardInterrupt, match="within"):
        failed.raise_error()
