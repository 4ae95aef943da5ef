"""`--embedding`, `--head-rank`: a meta-GAN on a frozen instance prior, from training to a photo it never saw."""

import json

import pytest
import torch

from hyperconv.nn.embedding import InstanceEmbedding
from hyperconv.nn.resnet import ResNet


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(InstanceEmbedding, "STEPS", 3)


def test_a_contrastive_prior_from_training_to_an_unseen_photo(hyperconv, photos, quick, tmp_path):
    run = tmp_path / "run"
    assert hyperconv("train", photos, "--out", run, *quick, "--embedding", "contrastive", "--head-rank", 3).code == 0
    config = json.loads((run / "config.json").read_text())
    assert (config["embedding"], config["head_rank"]) == ("contrastive", 3)
    assert hyperconv("train", "--resume", "--out", run, "--embedding", "conv").complains(
        "embedding is contrastive, not conv"
    )
    assert (
        hyperconv(
            "adapt",
            run,
            photos.parent / "flower.png",
            "--out",
            tmp_path / "adapted",
            "--tune-steps",
            1,
            "--tune",
            "embedding",
            "--export",
            tmp_path / "flower.safetensors",
        ).code
        == 0
    )
    assert hyperconv("sample", tmp_path / "flower.safetensors", "--out", tmp_path / "samples", "--count", 1).code == 0
    assert hyperconv("interpolate", run, "china", "coffee", "--out", tmp_path / "walk", "--steps", 3).code == 0


def test_a_published_prior_is_in_the_run_and_its_file_no_longer_needed(hyperconv, photos, quick, tmp_path):
    state = {f"module.{key}": value for key, value in ResNet(18).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "moco.pth.tar")
    assert (
        hyperconv(
            "train",
            photos,
            "--out",
            tmp_path / "run",
            *quick,
            "--embedding",
            "frozen-resnet18",
            "--backbone-weights",
            tmp_path / "moco.pth.tar",
        ).code
        == 0
    )
    (tmp_path / "moco.pth.tar").unlink()
    assert hyperconv("reconstruct", tmp_path / "run").code == 0


def test_what_does_not_fit_together_is_told(hyperconv, photos, quick, tmp_path):
    out = tmp_path / "run"
    torch.save(ResNet(18).state_dict(), tmp_path / "resnet18.pth")
    assert hyperconv("train", photos, "--out", out, *quick, "--embedding", "frozen-vgg16").complains(
        "--backbone-weights"
    )
    assert hyperconv(
        "train",
        photos,
        "--out",
        out,
        *quick,
        "--embedding",
        "frozen-resnet50",
        "--backbone-weights",
        tmp_path / "resnet18.pth",
    ).complains("holds a resnet18")
    assert hyperconv(
        "train",
        photos,
        "--out",
        out,
        *quick,
        "--embedding",
        "contrastive",
        "--backbone-weights",
        tmp_path / "resnet18.pth",
    ).complains("has no published weights")
    for system, option, value, told in (
        ("dip", "--embedding", "contrastive", "--embedding is for"),
        ("consingan", "--embedding", "contrastive", "consingan has no setting embedding"),
        ("singan", "--head-rank", 3, "singan has no setting head_rank"),
        ("singan", "--backbone-weights", tmp_path / "resnet18.pth", "singan has no setting backbone_weights"),
    ):
        assert hyperconv("train", photos, "--out", out, "--system", system, option, value).complains(told)
    assert not out.exists()
