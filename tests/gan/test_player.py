import pytest
import torch
from torch import nn

from hyperconv.errors import InputError
from hyperconv.gan.player import Group, Player
from hyperconv.gan.presets import preset


@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_a_step_is_that_of_adam_on_clipped_gradients(size):
    torch.manual_seed(0)
    config = preset("tiny", clip=0.7)
    own = [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(2))]
    wanted = [nn.Parameter(p.detach().clone()) for p in own]
    player = Player("generator", [Group(own)], config)
    adam = torch.optim.Adam(wanted, lr=0.01, betas=config.betas)
    for _ in range(4):
        for one, other in zip(own[:2], wanted[:2]):  # the third takes no part
            other.grad = size * torch.randn_like(other)
            one.grad = other.grad.clone()
        nn.utils.clip_grad_norm_(wanted, config.clip)
        adam.step()
        player.update(torch.tensor(0.01))
        assert all(p.grad is None for p in own)
    for one, other in zip(own, wanted):
        torch.testing.assert_close(one, other)


def test_parameters_settle_on_the_weighted_mean_of_what_they_were():
    decay, own = 0.8, nn.Parameter(torch.randn(5))
    resting = nn.Parameter(torch.randn(3))
    player = Player("generator", [Group([own], average=decay), Group([resting])], preset("tiny"))
    seen = []
    for _ in range(4):
        own.grad, resting.grad = torch.randn(5), torch.randn(3)
        player.update(torch.tensor(0.1))
        seen.append(own.detach().clone())
    last = resting.detach().clone()
    shares = torch.tensor([decay**age for age in (3, 2, 1, 0)])
    player.settle()
    torch.testing.assert_close(own.detach(), (shares / shares.sum()) @ torch.stack(seen))
    assert torch.equal(resting, last)


def test_averages_are_part_of_the_state():
    def player():
        torch.manual_seed(0)
        return Player("generator", [Group([nn.Parameter(torch.randn(4))], average=0.9)], preset("tiny"))

    def step(of, seed):
        of.parameters[0].grad = torch.randn(4, generator=torch.Generator().manual_seed(seed))
        of.update(torch.tensor(0.1))

    whole, other = player(), player()
    for seed in range(3):
        step(whole, seed)
    other.parameters[0].data.copy_(whole.parameters[0].data)
    other.restore({name: value.clone() for name, value in whole.tensors().items()})
    for each in (whole, other):
        step(each, 3)
        each.settle()
    assert torch.equal(whole.parameters[0], other.parameters[0])


def test_a_state_that_lacks_the_optimizer_is_named():
    player = Player("generator", [Group([nn.Parameter(torch.ones(2))])], preset("tiny"))
    with pytest.raises(InputError, match="lacks the generator's optimizer"):
        player.restore({})
    averaging = Player("generator", [Group([nn.Parameter(torch.ones(2))], average=0.9)], preset("tiny"))
    averaging.parameters[0].grad = torch.ones(2)
    averaging.update(torch.tensor(0.1))
    with pytest.raises(InputError, match="lacks generator_average.0"):
        averaging.restore({name: value for name, value in averaging.tensors().items() if "average." not in name})
