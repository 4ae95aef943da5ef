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


def test_a_state_that_lacks_the_optimizer_is_named():
    player = Player("generator", [Group([nn.Parameter(torch.ones(2))])], preset("tiny"))
    with pytest.raises(InputError, match="lacks the generator's optimizer"):
        player.restore({})
