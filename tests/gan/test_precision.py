from dataclasses import replace

import pytest
import torch

from hyperconv.errors import InputError
from hyperconv.gan.precision import arithmetic
from hyperconv.gan.presets import preset
from hyperconv.gan.run import Run
from hyperconv.gan.trainer import Trainer
from tests.gan.test_training import assert_same_state, train


def switches():
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.mark.parametrize("precision, tf32", [("fp32", False), ("tf32", True), ("bf16", True)])
def test_the_switches_hold_inside_and_are_restored(precision, tf32):
    before, older = switches(), torch.backends.cudnn.allow_tf32
    with pytest.raises(KeyError), arithmetic(precision):
        assert [switch == "tf32" for switch in switches()] == [tf32, tf32]
        raise KeyError
    assert [switch == "tf32" for switch in switches()] == [switch == "tf32" for switch in before]
    assert torch.backends.cudnn.allow_tf32 is older


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_whoever_set_the_newer_switches_keeps_them(precision):
    switch = torch.backends.cudnn.conv
    before, switch.fp32_precision = switch.fp32_precision, "ieee"
    try:
        with arithmetic(precision):
            assert (switch.fp32_precision == "tf32") is (precision == "tf32")
        assert switch.fp32_precision == "ieee"
    finally:
        switch.fp32_precision = before


def test_a_step_takes_place_in_the_precision_of_the_run(tmp_path, config, collection, monkeypatch):
    trainer = Trainer(Run.create(tmp_path / "run", replace(config, precision="tf32"), collection), collection)
    seen, compute = [], trainer.compute
    monkeypatch.setattr(trainer, "compute", lambda inputs: seen.append(switches()) or compute(inputs))
    trainer.take_step()
    assert seen == [("tf32", "tf32")]


def test_bf16_trains_the_generated_nets_in_bfloat16_and_everything_else_in_float32(tmp_path, config, collection):
    trainer = Trainer(Run.create(tmp_path / "run", replace(config, precision="bf16"), collection), collection)
    losses = trainer.take_step()
    assert {value.dtype for value in losses.values()} == {torch.float32}
    kept = [*trainer.system.parameters(), *(value for player in trainer.players for value in player.tensors().values())]
    assert {value.dtype for value in kept} == {torch.float32}
    exact = Trainer(Run.create(tmp_path / "exact", config, collection), collection).take_step()
    for name, value in exact.items():
        assert value.mean().item() == pytest.approx(losses[name].mean().item(), rel=0.05, abs=0.01), name
    assert any(not torch.equal(value, losses[name]) for name, value in exact.items())


def test_bf16_resumes_bit_for_bit(tmp_path, config, collection):
    config = replace(config, iterations=(8,), scale_count=2, max_size=24, precision="bf16")
    train(tmp_path / "whole", config, collection, checkpoint_every=4)
    steps = Trainer(Run.create(tmp_path / "parts", config, collection), collection, checkpoint_every=4).train()
    for _ in range(11):
        next(steps)
    run = Run.open(tmp_path / "parts")
    for _ in Trainer(run, run.collection(), checkpoint_every=4).train():
        pass
    assert_same_state(tmp_path / "whole", tmp_path / "parts")


def test_an_unknown_precision_is_named():
    with pytest.raises(InputError, match="precision is 'fp8': choose one of fp32, tf32, bf16"):
        preset("tiny", precision="fp8")
