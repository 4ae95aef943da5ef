"""The nets, the adaptation that leaves no trace, the trainer's run folder."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from hyperconv.data.domains import Domains
from hyperconv.errors import InputError, TrainingDiverged
from hyperconv.gan.presets import preset
from hyperconv.gan.reptile.draws import choose_tasks
from hyperconv.gan.reptile.presets import ReptileConfig
from hyperconv.gan.reptile.system import ReptileGAN
from hyperconv.gan.reptile.tasks import Tasks
from hyperconv.gan.reptile.trainer import ReptileTrainer, adapt
from hyperconv.gan.run import Run
from tests.gan.reptile.conftest import SMALL, DoubleDraws


def test_published_parameter_counts():
    gan = ReptileGAN(preset("paper-2mlp", "reptile"), 1)
    sizes = {name: net.layout.size for name, net in gan.nets.items()}
    assert sizes == {"generator": 1_066_880 + 100 * 256 * 16, "critic": 665_344, "mlp": 20_200, "second_mlp": 35_800}
    assert ReptileGAN(preset("paper", "reptile"), 1).nets["generator"].layout.size == 1_066_880


def test_published_settings():
    dcgan, wgan = preset("paper", "reptile"), preset("paper-wgan", "reptile")
    assert (dcgan.inner_steps, dcgan.critic_steps, dcgan.iterations, dcgan.batch_size) == (20, 1, (40000,), 64)
    assert (wgan.inner_steps, wgan.critic_steps, wgan.iterations, wgan.batch_size) == (20, 5, (20000,), 64)
    assert (dcgan.learning_rate, dcgan.betas, wgan.learning_rate, wgan.betas) == (2e-4, (0.5, 0.999), 1e-4, (0.0, 0.9))
    assert (dcgan.meta_rate, dcgan.tasks, wgan.penalty_weight) == (0.01, 1, 10.0)
    assert preset("paper-omniglot", "reptile").anti_batch_size == 128


def test_initial_weights():
    gan = ReptileGAN(preset("paper", "reptile"), 3)
    views = gan.nets["critic"].layout.split(gan.weights["critic"][None])
    assert views["conv1.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    assert views["norm2.weight"].mean().item() == pytest.approx(1, abs=0.01) and not views["norm2.bias"].any()
    views = gan.nets["mlp"].layout.split(gan.weights["mlp"][None])
    assert views["0.weight"].abs().max().item() == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("kind", ["tiny-2mlp", "tiny-wgan"])
def test_adapting_leaves_no_trace(make, domains, kind):
    gan = make(kind)
    before = {name: value.clone() for name, value in gan.tensors().items()}
    adapted = [adapt(gan, DoubleDraws(domains, gan.config, torch.tensor([1]), "test"), 2) for _ in range(2)]
    assert all(torch.equal(value, before[name]) for name, value in gan.tensors().items())
    for name in gan.adapts:
        assert torch.equal(adapted[0].weights[name].flat, adapted[1].weights[name].flat)


def test_a_sample_does_not_depend_on_the_others(make, domains):
    gan = make("tiny-2mlp")
    tasks = adapt(gan, DoubleDraws(domains, gan.config, torch.tensor([1]), "test"), 1)
    noise, real = torch.randn(6, gan.config.latent, dtype=torch.float64), domains.images("stripes-1").double()
    torch.testing.assert_close(tasks.sample(noise, real)[2:3], tasks.sample(noise[2:3], real))


def test_the_second_mlp_is_trained_or_as_published_is_not(make, domains):
    for second_mlp in ("trained", "frozen"):
        gan = make("tiny-2mlp", second_mlp=second_mlp)
        tasks = adapt(gan, DoubleDraws(domains, gan.config, torch.tensor([1, 2]), "test"), 1)
        same = torch.equal(tasks.weights["second_mlp"].flat[0], gan.weights["second_mlp"])
        assert same == (second_mlp == "frozen")


def test_plain_reptile_adapts_the_generator_too(make, domains):
    gan = make("tiny", generator="reptile")
    before = gan.weights["generator"].clone()
    draws = DoubleDraws(domains, gan.config, torch.tensor([0, 3]), "test")
    tasks = adapt(gan, draws, 1)
    alone = Tasks(gan, 1)
    draws = DoubleDraws(domains, gan.config, torch.tensor([0, 3]), "test")
    alone.adapt([draw.of_task(1, 2) for draw in draws.inner()])
    torch.testing.assert_close(tasks.weights["generator"].flat[1], alone.weights["generator"].flat[0])
    tasks.pull(0.5)
    torch.testing.assert_close(gan.weights["generator"], before.lerp(tasks.weights["generator"].flat.mean(0), 0.5))


def test_tasks_are_spread_over_the_domains():
    source = torch.Generator().manual_seed(0)
    assert sorted(choose_tasks(4, 4, source).tolist()) == [0, 1, 2, 3]
    counts = torch.bincount(choose_tasks(4, 10, source), minlength=4)
    assert counts.min() == 2 and counts.sum() == 10


@pytest.fixture
def config():
    return preset("tiny-2mlp", "reptile", **{**SMALL, "iterations": (12,), "inner_steps": 1})


def train(path, config, domains, **options):
    trainer = ReptileTrainer(Run.create(path, config, domains), domains, **options)
    return list(trainer.train())


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, config, domains):
    whole = train(tmp_path / "whole", config, domains, checkpoint_every=5)
    trainer = ReptileTrainer(Run.create(tmp_path / "cut", config, domains), domains, checkpoint_every=5)
    for progress in trainer.train():
        if progress.step == 11:
            break
    run = Run.open(tmp_path / "cut")
    assert run.checkpoint() == (0, 10)
    again = list(ReptileTrainer(run, run.domains("reptile"), checkpoint_every=5).train())
    assert [progress.step for progress in again] == [11, 12] and len(whole) == 12
    for name in ("model", "training_state"):
        one, other = (load_file(tmp_path / folder / f"{name}.safetensors") for folder in ("whole", "cut"))
        assert one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())
    (record,) = map(json.loads, (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines())
    assert record["step"] == 10 and {"critic", "generator", "seconds"} < record.keys()


def test_seeds(tmp_path, config, domains):
    models = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path / name, replace(config, seed=seed, iterations=(2,)), domains)
        models[name] = load_file(tmp_path / name / "model.safetensors")["weights.mlp"]
    assert torch.equal(models["a"], models["b"]) and not torch.equal(models["a"], models["c"])


def test_divergence_keeps_the_last_good_checkpoint(tmp_path, config, domains):
    trainer = ReptileTrainer(Run.create(tmp_path / "run", config, domains), domains, checkpoint_every=5)
    with pytest.raises(TrainingDiverged, match=r"at scale 1, step 10 .*: go on from .* --learning-rate lower than"):
        for progress in trainer.train():
            if progress.step == 6:
                trainer.gan.weights["critic"].fill_(float("nan"))
    assert Run.open(tmp_path / "run").checkpoint() == (0, 5)


def test_a_checkpoint_of_another_shape(tmp_path, config, domains):
    train(tmp_path / "run", replace(config, iterations=(1,)), domains)
    run = Run.open(tmp_path / "run")
    run = Run(run.path, replace(config, latent=7))
    with pytest.raises(InputError, match="does not fit config.json.*weights.generator should have shape"):
        ReptileTrainer(run, run.domains("reptile"))


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"image_size": 24}, "image_size is 24"),
        ({"tasks": 0}, "tasks is 0"),
        ({"mlps": 3}, "mlps is 3"),
        ({"iterations": (3, 4)}, "one scale"),
        ({"objective": "hinge"}, "dcgan, wgan-gp"),
        ({"hidden": 1.5}, "hidden"),
        ({"objective": "wgan-gp", "anti_batch_size": 2}, "must be equal"),
        ({"meta_rate": float("nan")}, "meta_rate"),
    ],
)
def test_bad_settings_are_refused_by_name(changes, told):
    with pytest.raises(InputError, match=told):
        ReptileConfig(**changes)


def test_it_learns_to_imitate_each_domain(tmp_path):
    """Copies adapted to domains of dark, dim, light and bright images draw images of that brightness."""
    source = torch.Generator().manual_seed(0)
    domains = Domains(
        {
            str(level): level
            + torch.randint(-15, 15, (8, 1, 8, 8), generator=source, dtype=torch.int16).to(torch.uint8)
            for level in (30, 90, 150, 220)
        }
    )
    config = preset(
        "tiny",
        "reptile",
        latent=8,
        hidden=8,
        tasks=4,
        batch_size=8,
        anti_batch_size=8,
        iterations=(120,),
        learning_rate=0.01,
    )
    trainer = ReptileTrainer(Run.create(tmp_path / "run", config, domains), domains)

    def levels():
        tasks, real = trainer.adapted(torch.arange(4))
        drawn = tasks.sample(torch.randn(32, 8, generator=torch.Generator().manual_seed(0)), real)
        return [images.unflatten(0, (4, -1)).mean((1, 2, 3, 4)) for images in (real, drawn)]

    real, before = levels()
    for _ in trainer.train():
        pass
    _, after = levels()
    assert (real - after).square().mean() < 0.5 * (real - before).square().mean()
    assert after[3] - after[0] > 0.5 * (real[3] - real[0])
