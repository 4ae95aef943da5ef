"""Domains side by side beside plain modules that adapt one after another (benchmarks/plain_reptile.py)."""

import pytest
import torch

from benchmarks.plain_reptile import PlainReptile, flat_of
from hyperconv.gan.reptile.tasks import Tasks
from hyperconv.gan.reptile.trainer import ReptileTrainer
from hyperconv.gan.run import Run
from tests.gan.reptile.conftest import KINDS, DoubleDraws

CLOSE = {"rtol": 1e-7, "atol": 1e-9}


def inner_draws(domains, config, chosen):
    draws = DoubleDraws(domains, config, torch.tensor(chosen), "test")
    return [draws.inner() for _ in range(config.inner_steps)]


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_side_by_side_equal_tasks_one_by_one(make, domains, kind):
    gan, chosen = make(kind), [2, 0, 3]
    plain, draws = PlainReptile(gan), inner_draws(domains, gan.config, chosen)
    tasks = Tasks(gan, len(chosen))
    for updates in draws:
        tasks.adapt(updates)
    noise = torch.randn(len(chosen) * 4, gan.config.latent, dtype=torch.float64)
    samples = tasks.sample(noise, draws[-1][-1].real).unflatten(0, (len(chosen), -1))
    for i in range(len(chosen)):
        alone = PlainReptile(gan)
        own = [[draw.of_task(i, len(chosen)) for draw in updates] for updates in draws]
        adapted = alone.adapted(own)
        for name, net in adapted.items():
            torch.testing.assert_close(tasks.weights[name].flat[i], flat_of(net), **CLOSE)
            assert not torch.allclose(flat_of(net), flat_of(plain[name]), rtol=0.01)
        for norm in (0, 1):
            batch_norm = alone["generator"][3 * norm + 1]
            torch.testing.assert_close(tasks.statistics[f"norm{norm}.mean"][i], batch_norm.running_mean, **CLOSE)
            torch.testing.assert_close(tasks.statistics[f"norm{norm}.var"][i], batch_norm.running_var, **CLOSE)
        alone.eval()["critic"].train()
        adapted["critic"].train()
        with torch.no_grad():
            drawn = alone.fakes(adapted, own[-1][-1]._replace(noise=noise.unflatten(0, (len(chosen), -1))[i]))
        torch.testing.assert_close(samples[i], drawn, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_one_task_at_a_time_is_the_published_loop(make, domains, kind, tmp_path, monkeypatch):
    """Several outer steps, with meta-batch 1: every weight of every net."""
    monkeypatch.setattr("hyperconv.gan.reptile.trainer.Draws", DoubleDraws)
    gan = make(kind, tasks=1)
    trainer = ReptileTrainer(Run.create(tmp_path / "run", gan.config, domains), domains)
    trainer.gan, trainer.generator = gan, gan.weights["generator"][None].requires_grad_()
    trainer.adam = torch.optim.Adam([trainer.generator], gan.config.learning_rate, gan.config.betas, fused=True)
    plain = PlainReptile(gan)
    chosen = []
    monkeypatch.setattr(
        "hyperconv.gan.reptile.trainer.choose_tasks",
        lambda count, tasks, source: chosen.append(torch.randint(count, (tasks,), generator=source)) or chosen[-1],
    )
    for step in range(4):
        trainer.take_step()
        trainer.step += 1
        draws = DoubleDraws(domains, gan.config, chosen[-1], "reptile", step)
        inner = [draws.inner() for _ in range(gan.config.inner_steps)]
        plain.outer_step(inner, draws.next(), gan.config.meta_rate * (1 - step / 4))
    for name, net in plain.items():
        torch.testing.assert_close(gan.weights[name], flat_of(net), **CLOSE)
    batch_norm = plain["generator"][1]
    torch.testing.assert_close(gan.statistics["norm0.var"], batch_norm.running_var, **CLOSE)


def test_a_meta_batch_moves_towards_the_mean_of_its_tasks(make, domains):
    gan, chosen = make("tiny-2mlp"), [1, 1, 0]
    before = {name: flat.clone() for name, flat in gan.weights.items()}
    alone, draws = [], inner_draws(domains, gan.config, chosen)
    for i in range(len(chosen)):
        own = [[draw.of_task(i, len(chosen)) for draw in updates] for updates in draws]
        alone.append(PlainReptile(gan).adapted(own))
    tasks = Tasks(gan, len(chosen))
    for updates in draws:
        tasks.adapt(updates)
    tasks.pull(0.25)
    for name in ("critic", "mlp", "second_mlp"):
        mean = torch.stack([flat_of(task[name]) for task in alone]).mean(0)
        torch.testing.assert_close(gan.weights[name], before[name] + 0.25 * (mean - before[name]), **CLOSE)
    assert torch.equal(gan.weights["generator"], before["generator"])
