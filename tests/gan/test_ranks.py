"""Two processes that train together are as good as one: the same parameters in both, the gradients of the whole batch."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hyperconv.data.collection import Collection
from hyperconv.errors import InputError
from hyperconv.gan.draw import Draws
from hyperconv.gan.generator import Generator
from hyperconv.gan.presets import preset
from hyperconv.gan.ranks import ALONE, Ranks, check_ranks
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer
from tests.gan.conftest import picture

ROOT = Path(__file__).resolve().parents[2]


def torchrun(*arguments, restarts=0):
    options = ["--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts), "--monitor-interval", "0.1"]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
    )


@pytest.fixture
def short_guess():
    """Whole, as in the processes that torchrun starts."""


@pytest.fixture(scope="module")
def slow():
    """Two scales, every photo in every batch, unclipped gradients, and a rate at which rounding does not grow."""
    return preset(
        "tiny",
        max_size=32,
        min_size=16,
        scale_count=2,
        hidden=8,
        features=8,
        embedding_size=32,
        batch_size=3,
        variants=3,
        variants_above=3,
        average=0.9,
        head_rank=6,
        iterations=(10,),
        clip=None,
        learning_rate=1e-5,
    )


@pytest.fixture(scope="module")
def photos(slow):
    return Collection([picture(0, 48, 64), picture(1, 64, 40), picture(2, 50, 50)], slow.pyramid())


@pytest.fixture(scope="module")
def together(slow, photos, tmp_path_factory):
    """The folder of a run that two processes trained."""
    folder = tmp_path_factory.mktemp("together") / "run"
    Run.create(folder, slow, photos)
    result = torchrun("tests/gan/train_together.py", folder)
    assert result.returncode == 0, result.stderr
    return folder


def assert_close(tensors, others, tolerance):
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        other = others[name].float()
        assert (value - other).abs().max() <= tolerance * other.abs().max() + 1e-12, name


def test_two_processes_train_as_one(tmp_path, slow, photos, together):
    ranks = [load_file(together / f"rank_{rank}.safetensors") for rank in range(2)]
    assert all(torch.equal(value, ranks[1][name]) for name, value in ranks[0].items())

    for _ in Trainer(Run.create(tmp_path / "one", slow, photos), photos).train():
        pass
    one, two = Run.open(tmp_path / "one"), Run.open(together)
    assert one.load("training_state")[1] == two.load("training_state")[1] == {"scale": 1, "step": 10}
    tensors, others = (run.load("training_state")[0] for run in (one, two))
    # The optimizers' averages are among them: gradients are those of the whole batch, a photo of which is a third. What
    # rounding does to a sum now and then turns the sign of an activation, and grows.
    assert_close(tensors, others, 0.05)
    logs = [[json.loads(line) for line in (run.path / "metrics.jsonl").open()] for run in (one, two)]
    for record, other in zip(*logs, strict=True):
        for name in set(record) - {"seconds", "memory"}:
            assert other[name] == pytest.approx(record[name], rel=0.02, abs=1e-4), name


def test_each_process_keeps_half_of_the_averages_and_one_can_go_on_alone(photos, together):
    for rank in range(2):
        for moved, whole in json.loads((together / f"moved_{rank}.json").read_text()):
            assert moved < 0.6 * whole
    saved = Run.open(together).load("training_state")[0]
    for player in Trainer(Run.open(together), photos).players:
        assert all(torch.equal(value, saved[name]) for name, value in player.tensors().items())


def test_when_one_dies_all_start_again_from_the_checkpoint(tmp_path, slow, photos, together):
    Run.create(tmp_path / "died", slow, photos)
    result = torchrun("tests/gan/train_together.py", tmp_path / "died", 6, restarts=1)
    assert result.returncode == 0, result.stderr
    whole, died = (Run.open(folder).load("training_state")[0] for folder in (together, tmp_path / "died"))
    assert whole.keys() == died.keys() and all(torch.equal(value, died[name]) for name, value in whole.items())


@pytest.mark.parametrize("scale", [0, 2])
def test_every_photo_and_altered_photo_is_somebodys(config, collection, scale):
    config = replace(config, batch_size=3, variants=5, variants_above=3)

    def inputs(ranks):
        return Draws(collection, config, scale, Generator(3, 8), torch.ones(3, 3), None, torch.ones(3), ranks).step(7)

    whole = inputs(ALONE)
    parts = [inputs(Ranks(rank, 2)) for rank in range(2)]
    for rank, part in enumerate(parts):
        for name in ("photos", "coarsest", "squares", "sizes", "amplitudes", "each"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rank::2]), name
        assert torch.equal(part.noise[0].z, whole.noise[0].z[rank::2])
        assert torch.equal(part.noise[0].alpha, whole.noise[0].alpha)
        assert all(
            torch.equal(own, all_of_them[rank::2])
            for own, all_of_them in zip(part.variants.images, whole.variants.images, strict=True)
        )
    assert sum(part.each.sum() for part in parts) == pytest.approx(1)
    assert sum(part.variants.each.sum() for part in parts) == pytest.approx(1)


def test_too_many_processes_and_systems_that_have_nothing_to_share():
    check_ranks(Ranks(0, 6), preset("tiny"), 10)
    check_ranks(ALONE, preset("tiny", "singan"), 1)
    with pytest.raises(InputError, match="7 processes share 6 photos of a batch.*--batch-size"):
        check_ranks(Ranks(0, 7), preset("tiny"), 10)
    with pytest.raises(InputError, match="4 processes share 3 photos"):
        check_ranks(Ranks(1, 4), preset("tiny"), 3)
    with pytest.raises(InputError, match="5 processes share 4 altered photos"):
        check_ranks(Ranks(1, 5), preset("tiny", variants=4), 10)
    with pytest.raises(InputError, match="5 processes share 3 altered photos"):
        check_ranks(Ranks(1, 5), preset("tiny", variants_above=3), 10)
    with pytest.raises(InputError, match="--system consingan.*without torchrun"):
        check_ranks(Ranks(0, 2), preset("tiny", "consingan"), 4)
