import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import safetensors
import torch
from safetensors.torch import save_file

from hyperconv.data import canvas
from hyperconv.data.collection import Collection
from hyperconv.data.pyramid_store import PhotoIntake
from hyperconv.errors import InputError, TrainingDiverged
from hyperconv.gan import first_guess
from hyperconv.gan.run import Run, load_system
from hyperconv.gan.trainer import Trainer
from hyperconv.metrics.patches import patch_swd
from tests.gan.conftest import picture


def train(path, config, collection, **options):
    trainer = Trainer(Run.create(path, config, collection), collection, **options)
    for _ in trainer.train():
        pass
    return trainer


def state(path):
    return Run.open(path).load("training_state")


def assert_same_state(one, other):
    tensors, where = state(one)
    other_tensors, other_where = state(other)
    assert where == other_where
    assert tensors.keys() == other_tensors.keys()
    for key, value in tensors.items():
        assert torch.equal(value, other_tensors[key]), key


def quality(trainer):
    """Reconstruction error and patch distance of samples at the finest scale, means over the photos."""
    everyone, sizes = torch.arange(len(trainer.collection)), trainer.collection.sizes[-1]
    photos = trainer.collection.batch(everyone, trainer.scale).images
    with torch.no_grad():
        model = trainer.photo_model(everyone)
        error = canvas.mean((model.reconstruct() - photos).square(), sizes).mean().item()
        drawn = canvas.crop(model.sample(1, torch.Generator().manual_seed(0)), sizes)
    distances = [patch_swd(sample, photo) for sample, photo in zip(drawn, canvas.crop(photos, sizes))]
    return error, sum(distances) / len(distances)


def test_contexts_that_no_longer_change_are_computed_once(tmp_path, config, collection, monkeypatch):
    scales, computed = [], Trainer.all_contexts
    monkeypatch.setattr(Trainer, "all_contexts", lambda trainer: scales.append(trainer.scale) or computed(trainer))
    trainer = train(tmp_path / "run", replace(config, scale_count=3, iterations=(2,)), collection)
    assert trainer.scale == 2 and scales == [1]
    assert torch.equal(trainer.contexts, computed(trainer))


def test_training_improves_reconstruction_and_patches(tmp_path, config, collection):
    config = replace(
        config,
        iterations=(150, 100),
        scale_count=2,
        max_size=24,
        hidden=16,
        learning_rate=1e-3,
        decay_at=0.8,
        first_scale_sees="embedding",
        variants=0,
    )
    collection = Collection([_photo(i) for i in range(3)], config.pyramid())
    error_before, distance_before = quality(train(tmp_path / "short", replace(config, iterations=(1,)), collection))
    error_after, distance_after = quality(train(tmp_path / "run", config, collection))
    assert error_after < 0.25 * error_before
    assert distance_after < 0.6 * distance_before
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first = [r["reconstruction"] for r in records if r["scale"] == 0]
    assert first[-1] < 0.7 * first[0]


def _photo(index):
    return picture(index, 48, 64)


def test_altered_photos_train_the_scales_that_ask_for_them(tmp_path, config, collection):
    train(tmp_path / "first", replace(config, variants=4, variants_above=0), collection)
    train(tmp_path / "all", replace(config, variants=4, variants_above=2), collection)
    train(tmp_path / "without", replace(config, variants=0, variants_above=0), collection)
    for name, scales in (("first", {0}), ("all", {0, 1, 2}), ("without", set())):
        records = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        assert {record["scale"] for record in records if "variants" in record} == scales


def test_the_same_seed_gives_the_same_run(tmp_path, config, collection):
    config = replace(config, iterations=(6,))
    train(tmp_path / "a", config, collection)
    train(tmp_path / "b", config, collection)
    assert_same_state(tmp_path / "a", tmp_path / "b")
    train(tmp_path / "c", replace(config, seed=1), collection)
    key = "system.generator.heads.0.projection.weight"
    assert not torch.equal(state(tmp_path / "a")[0][key], state(tmp_path / "c")[0][key])


@pytest.mark.parametrize("stop, average", [(3, 0.0), (4, 0.0), (8, 0.0), (15, 0.0), (4, 0.9), (8, 0.9), (15, 0.9)])
def test_resume_equals_uninterrupted_bit_for_bit(tmp_path, config, collection, stop, average):
    config = replace(config, iterations=(8,), average=average)
    train(tmp_path / "whole", config, collection, checkpoint_every=4)
    interrupted = Trainer(Run.create(tmp_path / "parts", config, collection), collection, checkpoint_every=4)
    steps = interrupted.train()
    for _ in range(stop):
        next(steps)
    if stop >= 4:
        run = Run.open(tmp_path / "parts")
        resumed = Trainer(run, run.collection(), checkpoint_every=4)
        for _ in resumed.train():
            pass
        assert_same_state(tmp_path / "whole", tmp_path / "parts")
    else:
        assert not Run.open(tmp_path / "parts").has("training_state")


def test_photos_on_disk_train_the_same_run_also_when_it_is_resumed(tmp_path, config):
    config = replace(config, iterations=(8,), scale_count=2, batch_size=2, variants=3, variants_above=2)
    photos = [_photo(i) for i in range(5)]
    train(tmp_path / "memory", config, Collection(photos, config.pyramid()), checkpoint_every=5)
    run = Run.create(tmp_path / "disk", config, PhotoIntake(photos, config.pyramid(), config.embedding_size))
    steps = Trainer(run, run.collection(on_disk=True), checkpoint_every=5).train()
    for _ in range(6):
        next(steps)
    for _ in Trainer(run, run.collection(on_disk=True), checkpoint_every=5).train():
        pass
    assert_same_state(tmp_path / "memory", tmp_path / "disk")


def test_memory_stays_flat(tmp_path, config, collection):
    """No step leaves a tensor behind."""
    config, alive = replace(config, iterations=(60,), scale_count=2), []
    for taken in Trainer(Run.create(tmp_path / "run", config, collection), collection, checkpoint_every=30).train():
        if taken.scale == 1 and taken.step in (20, 40, 55):
            gc.collect()
            alive.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))
    assert alive[0] == alive[1] == alive[2]


def test_damaged_checkpoints_never_load(tmp_path, config, collection):
    """Flipped bits, cut ends, exchanged tensors: one clear error each time."""
    run = train(tmp_path / "run", replace(config, iterations=(2,), scale_count=1), collection).run
    path = tmp_path / "run" / "training_state.safetensors"
    content, chance = path.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(content[:8], "little")
    filled = 8 + len(content[8:header].rstrip())

    def refused():
        with pytest.raises(InputError, match="training_state.safetensors is damaged") as caught:
            Trainer(Run.open(run.path), collection)
        return "\n" not in str(caught.value)

    for place in chance.sample(range(filled), 12) + chance.sample(range(header, len(content)), 12):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :])
        assert refused(), place
    for length in (0, 7, header // 2, header, len(content) - 1):
        path.write_bytes(content[:length])
        assert refused(), length
    path.write_bytes(content)
    with safetensors.safe_open(path, "pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in sorted(file.keys())}
    one, other = (f"generator_optimizer.0.{name}" for name in ("exp_avg", "exp_avg_sq"))
    tensors[one], tensors[other] = tensors[other], tensors[one]
    save_file(tensors, path, about)
    assert refused()


def test_kill_during_training_loses_nothing(tmp_path, config, collection):
    """SIGKILL at an arbitrary moment, checkpoints being written all the time: the run resumes to the same end."""
    config = replace(config, iterations=(12,), scale_count=2)
    collection = Collection([_photo(i) for i in range(3)], config.pyramid())
    train(tmp_path / "whole", config, collection, checkpoint_every=1)
    Run.create(tmp_path / "killed", config, collection)
    program = (
        "import sys; from hyperconv.gan.run import Run; from hyperconv.gan.trainer import Trainer\n"
        f"from hyperconv.gan import first_guess; first_guess.GROUPS = {first_guess.GROUPS}\n"
        "import torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "run = Run.open(sys.argv[1])\n"
        "for p in Trainer(run, run.collection(), checkpoint_every=1).train(): print(p.step, flush=True)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "killed"), str(torch.get_num_threads())]
    for steps_seen in (2, 5):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for _ in range(steps_seen):
                process.stdout.readline()
            time.sleep(0.003 * steps_seen)
            os.kill(process.pid, signal.SIGKILL)
        run = Run.open(tmp_path / "killed")
        load_system(run, collection, "training_state")
        load_system(run, collection, "model")
    run = Run.open(tmp_path / "killed")
    for _ in Trainer(run, run.collection(), checkpoint_every=1).train():
        pass
    assert_same_state(tmp_path / "whole", tmp_path / "killed")
    lines = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert len({(r["scale"], r["step"]) for r in lines}) == len(lines)


def test_finished_scales_do_not_drift(tmp_path, config, collection):
    """What a finished scale draws for a photo is the same after the later scales have trained."""
    trainer = Trainer(Run.create(tmp_path / "run", config, collection), collection)
    everyone = torch.arange(3)
    finished = None
    for progress in trainer.train():
        if finished is None and (progress.scale, progress.step) == (1, 1):
            with torch.no_grad():
                finished = trainer.photo_model(everyone).reconstruct(stop=1)
    with torch.no_grad():
        assert torch.equal(trainer.photo_model(everyone).reconstruct(stop=1), finished)


def test_published_training_of_the_embedding_drifts(tmp_path, config, collection):
    trainer = Trainer(
        Run.create(tmp_path / "run", replace(config, embedding_trains="every scale"), collection), collection
    )
    finished = None
    for progress in trainer.train():
        if finished is None and (progress.scale, progress.step) == (1, 1):
            with torch.no_grad():
                finished = trainer.photo_model(torch.arange(3)).reconstruct(stop=1)
    with torch.no_grad():
        assert not torch.equal(trainer.photo_model(torch.arange(3)).reconstruct(stop=1), finished)


def test_a_photos_model_does_not_depend_on_its_batch_mates(tmp_path, config, collection):
    trainer = train(tmp_path / "run", replace(config, iterations=(4,)), collection)
    with torch.no_grad():
        together = trainer.photo_model(torch.arange(3)).reconstruct()
        for index in range(3):
            alone = trainer.photo_model(torch.tensor([index])).reconstruct()
            height, width = alone.shape[-2:]
            torch.testing.assert_close(together[index, :, :height, :width], alone[0], atol=1e-3, rtol=1e-3)


def test_divergence_stops_with_the_last_good_checkpoint(tmp_path, config, collection):
    trainer = Trainer(Run.create(tmp_path / "run", config, collection), collection, checkpoint_every=5)
    with pytest.raises(
        TrainingDiverged,
        match=r"at scale 1, step 10 .* is nan.*: go on from the last good checkpoint "
        r"with --resume --out .*/run and a --learning-rate lower than 0.001$",
    ):
        for progress in trainer.train():
            if progress.step == 7:
                with torch.no_grad():
                    next(trainer.system.generator.heads[0].parameters()).fill_(float("nan"))
    tensors, where = state(tmp_path / "run")
    assert where == {"scale": 0, "step": 5}
    assert all(value.isfinite().all() for value in tensors.values())


def test_divergence_before_any_checkpoint(tmp_path, config, collection):
    trainer = Trainer(Run.create(tmp_path / "a run", config, collection), collection)
    assert str(trainer.diverged("critic is nan")) == (
        "training diverged at scale 1, step 0 (critic is nan): nothing was saved yet, start again with --resume --out "
        f"'{tmp_path}/a run' and a --learning-rate lower than 0.001"
    )


@pytest.mark.parametrize("harm", ["stale", "absent", "truncated"])
def test_a_finished_run_writes_a_model_anew_that_is_not_its_checkpoints(tmp_path, config, collection, harm):
    """As where a kill came between the two files of the last checkpoint."""
    run = train(tmp_path / "run", replace(config, iterations=(2,), scale_count=1), collection, checkpoint_every=1).run
    model = tmp_path / "run" / "model.safetensors"
    whole = model.read_bytes()
    if harm == "stale":
        run.save("model", run.load("model")[0], {"scale": 0, "step": 1})
    elif harm == "absent":
        model.unlink()
    else:
        model.write_bytes(whole[:-100])
    assert list(Trainer(run, collection).train()) == []
    assert model.read_bytes() == whole


def test_damaged_files_are_named(tmp_path, config, collection):
    train(tmp_path / "run", replace(config, iterations=(2,), scale_count=1), collection)
    run = Run.open(tmp_path / "run")
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="model.safetensors is damaged"):
        load_system(run, collection)
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json"):
        Run.open(tmp_path / "run")
    with pytest.raises(InputError, match="not a run"):
        Run.open(tmp_path)
    with pytest.raises(InputError, match="--resume"):
        Run.create(tmp_path / "run", config, collection)


def test_a_run_appears_whole_or_not_at_all(tmp_path, config, collection, monkeypatch):
    def full_disk(path):
        raise OSError("no space left")

    monkeypatch.setattr(collection, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        Run.create(tmp_path / "run", config, collection)
    assert list(tmp_path.iterdir()) == []
