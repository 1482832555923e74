"""What comes out of the narrow link, scored: on tiny sets."""

import json

import numpy as np
import pytest

from experiments import link
from neid_tf.pictures.codecs import CODECS
from tests.conftest import darkened, picture, write


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    for number in (13, 82, 9999):
        bright = picture(48, 64, number)
        write(root / f"our485/high/{number}.png", bright)
        write(root / f"our485/low/{number}.png", darkened(bright))
    for index, share in enumerate((0.1, 0.3, 1.0)):
        write(root / f"sice/025/{index + 1}.png", (picture(48, 64) * share).astype(np.uint8))
    return root


def test_the_record_has_every_way_and_draws_its_chart(data, tmp_path, monkeypatch):
    monkeypatch.setattr(link, "BUDGETS", (1, 1200, 3000))
    monkeypatch.setattr(link, "CODECS", {"jpeg": CODECS["jpeg"]})
    made = link.record(data, "neid_s", 5)
    assert made["lol"]["pictures"] == ["13", "82"]
    assert made["sice"]["pictures"] == ["025"]
    for found in made.values():
        assert set(found["jpeg"]["1"].values()) == {None}
        for most in (1200, 3000):
            assert set(found["jpeg"][str(most)]) == set(link.LABELS)
            for way in found["jpeg"][str(most)].values():
                assert way["mean"]["bytes"] <= most
        sent = [found["jpeg"][str(most)]["packed"]["mean"]["bytes"] for most in (1200, 3000)]
        assert sent[0] < sent[1]
        assert set(found["without_loss"]) == {"full", "half"}
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"sets": made}))
    assert "| 1 | – | – | – | – | – | – | – | – |" in link.table("jpeg", path)
    chart = link.draw(path)
    assert chart.shape == (1040, 1800, 3)
    assert len(np.unique(chart.reshape(-1, 3), axis=0)) > 50


def test_pictures_are_drawn_evenly():
    assert link.evenly(list("abcdefg"), 3) == ["a", "c", "e"]
    assert link.evenly(list("ab"), 5) == ["a", "b"]
