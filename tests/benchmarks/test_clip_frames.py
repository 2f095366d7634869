"""The benchmark of what frames cost runs, and prints both figures and their ratio."""

import re

import pytest

from benchmarks import clip_frames


@pytest.mark.slow
def test_four_times_the_frames_are_asked_about_and_compared(capsys):
    with pytest.raises(SystemExit):
        clip_frames.main(rounds=1)
    found = re.search(r"from the file to the answer +([\d.]+) +([\d.]+) {3}([\d.]+)", capsys.readouterr().out)
    many, few, ratio = map(float, found.groups())
    assert many / few == pytest.approx(ratio, abs=0.05)
