"""The report on frozen instance priors, and arms that are finished."""

import argparse
import json

from benchmarks.prior_embedding import ARMS, SETS, report, run_arm
from benchmarks.training import SCORES, Deadline
from hyperconv.gan.presets import preset
from hyperconv.nn.embedding import EMBEDDINGS


def arm(value):
    scores = {which: {key: value + place for place, key in enumerate(SCORES)} for which in SETS}
    return {"embedding": "conv", "seconds": 12.3, "embedding_parameters": 8320, **scores}


def test_every_arm_is_an_embedding_that_needs_no_file():
    assert set(ARMS.values()) <= set(EMBEDDINGS)
    for embedding in ARMS.values():
        assert preset("tiny", embedding=embedding).embedding == embedding


def test_the_report_holds_every_score_of_every_arm(tmp_path):
    found = {"one": arm(0.25), "other": arm(0.5)}
    page = report(tmp_path, "Somewhere.", found)
    assert (tmp_path / "prior_embedding.md").read_text() == page and "Somewhere." in page
    (row,) = (line for line in page.splitlines() if line.startswith("| other"))
    assert row == ("| other | 0.5000 | 0.5000 | 1.5000 | 1.5000 | 2.5000 | 2.5000 | 3.5000 | 3.5000 | 0.01 M | 12 |")
    assert json.loads((tmp_path / "prior_embedding.json").read_text()) == {"about": "Somewhere.", "arms": found}


def test_an_arm_that_is_finished_is_not_trained_again(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps(arm(1.0)))
    assert run_arm(tmp_path, preset("tiny"), argparse.Namespace(), Deadline(1)) == arm(1.0)
