import math

import pytest

from benchmarks.training import Deadline, means, scaled, scores_of_all, seconds_of, split, train
from hyperconv.apps.model import Model
from hyperconv.data.examples import load_examples
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run


def test_every_fifth_photo_is_held_out():
    training, held_out = split([str(number) for number in range(1, 13)])
    assert held_out == ["5", "10"]
    assert len(training) == 10 and not set(training) & set(held_out)
    assert split([str(number) for number in range(1, 8)], fold=2) == (["1", "3", "4", "5", "6"], ["2", "7"])


def test_a_budget_is_a_share_of_the_steps_but_at_least_some():
    assert scaled(preset("tiny", iterations=(900, 20)), 0.1).iterations == (90, 10)


def test_means_leave_out_what_is_no_number():
    assert means([{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": math.nan}]) == {"a": 2.0, "b": 2.0}


def test_training_stops_after_the_deadline_and_goes_on(tmp_path, capsys):
    config = preset(
        "tiny",
        max_size=24,
        min_size=16,
        scale_count=2,
        hidden=8,
        features=8,
        embedding_size=32,
        batch_size=2,
        iterations=(12,),
        variants=0,
        first_scale_sees="embedding",
    )
    photos, spent = load_examples(["china", "coffee"]), []
    while not train(tmp_path / "run", photos, config, Deadline(0), checkpoint_every=5):
        spent.append(seconds_of(tmp_path / "run"))
    assert Run.open(tmp_path / "run").checkpoint() == (1, 12)
    spent.append(seconds_of(tmp_path / "run"))
    assert len(spent) == 6 and spent == sorted(spent) and spent[0] > 0  # steps 5, 10, 12 of each scale
    assert "scale 2/2 (24 px), step 10, " in capsys.readouterr().out
    assert train(tmp_path / "run", photos, config, Deadline(0))
    found = scores_of_all(Model.open(tmp_path / "run"), 2)
    assert set(found) == {"china", "coffee"}
    assert found["china"]["patch_swd"] > 0 and found["china"]["rmse"] == pytest.approx(0.3, abs=0.29)
