"""What one forward pass makes of photos a run never saw: figures of every scale, and a sheet."""

import pytest
import torch

from benchmarks.unseen import SAMPLES, average, write_sheet
from hyperconv.apps.model import Model
from hyperconv.apps.train import train
from hyperconv.data.examples import load_examples
from hyperconv.data.images import read_photo


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    run = train(
        load_examples(["china"]),
        tmp_path_factory.mktemp("unseen") / "run",
        "tiny",
        device="cpu",
        max_size=24,
        min_size=16,
        scale_count=2,
        hidden=8,
        features=8,
        embedding_size=32,
        batch_size=2,
        iterations=(5,),
        variants=0,
        first_scale_sees="embedding",
    )
    return Model.open(run.path, "cpu").with_photos(load_examples(["flower", "rocket"]))


def test_errors_are_of_every_scale_and_of_the_mean_colour(unseen):
    reconstruction, mean_colour = average(unseen).T
    deviations = [unseen.photo(name, 1).var((1, 2), correction=0).mean().sqrt() for name in unseen.names]
    assert reconstruction.shape == (2,) and reconstruction.min() > 0
    torch.testing.assert_close(mean_colour[1], torch.stack(deviations).mean())


def test_the_sheet_has_a_row_for_every_photo(unseen, tmp_path):
    write_sheet(unseen, 1, tmp_path / "sheet.png")
    _, height, width = read_photo(tmp_path / "sheet.png").pixels.shape
    write_sheet(unseen.with_photos(load_examples(["flower"])), 1, tmp_path / "one.png")
    _, one, same = read_photo(tmp_path / "one.png").pixels.shape
    assert same == width > 2 * SAMPLES * 24
    assert height > 1.5 * one
