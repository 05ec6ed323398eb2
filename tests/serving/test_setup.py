from __future__ import annotations

from pathlib import Path

import pytest

from cephray.clinical import analysis_names
from cephray.errors import InputError
from cephray.landmarks import ISBI2015
from cephray.serving.setup import describe, own_analyses
from tests.serving.server import OURS


def test_analyses_of_the_user_come_first(tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(OURS)
    setup = describe(ISBI2015, own_analyses([str(file)], ISBI2015))
    assert setup["own"] == ["ours"]
    assert [one["name"] for one in setup["analyses"]] == ["ours", *analysis_names()]
    assert setup["analyses"][0]["measures"][0]["points"] == [[0], [9]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OURS.replace("ours", "steiner"), "an analysis named 'steiner' already"),
        (OURS.replace("ours", "isbi2015"), "an analysis named 'isbi2015' already"),
        (OURS.replace("[S, Go]", "[S, Xy]"), "it lacks Xy"),
        (OURS.replace("measures", "measure"), "ours.yaml: .*measure"),
    ],
)
def test_an_analysis_that_cannot_be_used_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        own_analyses([str(file)], ISBI2015)


def test_two_analyses_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    for file in files:
        file.write_text(OURS)
    with pytest.raises(InputError, match=r"two\.yaml: there is an analysis named 'ours' already"):
        own_analyses([str(file) for file in files], ISBI2015)
