import sys

import torch

from benchmarks import single_scores
from benchmarks.single_scores import PUBLISHED, SIDE_BY_SIDE, grown


def test_a_stage_starts_from_the_one_before_it():
    torch.manual_seed(0)
    photos = [torch.rand(1, 3, side, side + 4) for side in (12, 14, 16)]
    gan = grown(None, photos[:1])
    gan.step()
    before = {name: value.clone() for name, value in gan.generator.state_dict().items()}
    critic = {name: value.clone() for name, value in gan.critic.state_dict().items()}
    for stage in (2, 3):
        gan = grown(gan, photos[:stage])
    after = gan.generator.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for number in (1, 2):
        copies = {name: value for name, value in after.items() if name.startswith(f"bodies.{number}.")}
        assert copies and all(torch.equal(value, before[name.replace(f"bodies.{number}", "bodies.0")])
                              for name, value in copies.items())
    assert all(torch.equal(gan.critic.state_dict()[name], value) for name, value in critic.items())
    assert gan.amplitudes[0] == 1 and all(0 < amplitude < 0.1 for amplitude in gan.amplitudes[1:])
    gan.step()


def test_both_are_scored(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["single_scores", "--photos", "china", "--max-size", "24", "--min-size", "12",
                                      "--iterations", "1", "--count", "2", "--out", str(tmp_path / "scores.md")])
    single_scores.main()
    page = (tmp_path / "scores.md").read_text()
    assert page in capsys.readouterr().out
    assert SIDE_BY_SIDE in page and PUBLISHED in page and "nan" not in page
