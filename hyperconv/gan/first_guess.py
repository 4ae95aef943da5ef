"""How an image is written into the coarsest generator's last layer, solved for before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperconv.data.collection import Collection
from hyperconv.data.images import resize
from hyperconv.data.variants import variants
from hyperconv.gan.noise import seeded

if TYPE_CHECKING:
    from hyperconv.gan.meta import MetaGAN

GROUPS, GROUP = 24, 256  # groups of altered photos; those of a group have one size
SQUARE = 32  # pixels of the square photos that the altered ones are made of, and of a thumbnail at most
NEAR_ONE = 0.97  # brightest value asked of a tanh
RIDGE = 0.003  # over the mean square of a basis map, or of a thumbnail's pixel


@torch.no_grad()
def guess(system: MetaGAN, collection: Collection) -> None:
    """Start the generator so that it reconstructs altered photos of the collection from their thumbnails.

    Every photo gets the same hidden layers. The fixed noise then gives the same maps for all photos of a size, and a
    photo is a linear combination of them (through tanh): its weights in the last layer are solved for by ridge
    regression for each altered photo, and the linear map from thumbnails to such weights by another one. Thumbnails
    wider than SQUARE pixels, of which the altered photos show no more, are shrunk for that map.
    """
    head, thumbnail_head = system.generator.heads[0], system.generator.thumbnail_head
    side, channels = system.generator.thumbnail_side, system.channels
    block = -(-side // SQUARE)
    head.projection.weight.zero_()
    covariance, correlation = 0, 0
    for group in range(GROUPS):
        source = seeded("cpu", system.config.seed, "first guess", group)  # the same photos on every device
        images = _altered(collection, source).to(system.z_star)
        thumbnails = system.generator.thumbnails(images).view(GROUP, channels, side, side)
        thumbnails = F.pad(_shrunk(thumbnails, block).flatten(1), [0, 1], value=1).double()
        wanted = _last_layers(images.double(), _maps(system, *images.shape[-2:]).double())
        covariance = covariance + thumbnails.mT @ thumbnails
        correlation = correlation + thumbnails.mT @ wanted
    covariance.diagonal().add_(RIDGE * GROUPS * GROUP)
    solved = torch.linalg.solve(covariance, correlation)
    first = thumbnail_head.first
    of_blocks = (solved[:-1] / thumbnail_head.scale).mT.unflatten(1, (channels, -(-side // block), -1))
    of_pixels = F.interpolate(of_blocks, scale_factor=block, mode="nearest")[..., :side, :side] / block**2
    thumbnail_head.projection.weight.copy_(of_pixels.flatten(1))
    head.projection.bias[first:] = solved[-1] / head.scale[first:]


def _shrunk(thumbnails: Tensor, block: int) -> Tensor:
    """The means of their blocks of pixels; what is beyond the last row and column is zero, as in any thumbnail."""
    more = -thumbnails.shape[-1] % block
    return F.avg_pool2d(F.pad(thumbnails, [0, more, 0, more]), block)


def _altered(collection: Collection, source: torch.Generator) -> Tensor:
    """Altered photos (GROUP, C, h, w), as large as one of the photos at the coarsest scale."""
    chosen = torch.randint(len(collection), (GROUP,), generator=source)
    height, width = collection.sizes_of(chosen[:1])[0][0].tolist()
    return resize(variants(collection.embedding_inputs(chosen, SQUARE).cpu(), source), (height, width))


def _maps(system: MetaGAN, height: int, width: int) -> Tensor:
    """What the last layer combines at every pixel (h w, its inputs and 1) when z* is the noise."""
    stack, generator = system.generator_template.stack(), system.generator
    shared = generator.heads[0].weights(system.z_star.new_zeros(1, generator.features))
    z = F.pad(system.z_star[None, :, :height, :width], [stack.margin] * 4)
    return F.pad(F.unfold(stack.hidden(z, shared), stack.kernel_size)[0].mT, [0, 1], value=1)


def _last_layers(images: Tensor, maps: Tensor) -> Tensor:
    """The last layers (B, its weights, then its biases) that make `images` (B, C, h, w) of the maps."""
    square = maps.mT @ maps
    square.diagonal().add_(RIDGE * len(maps))
    wanted = images.clamp(-NEAR_ONE, NEAR_ONE).atanh().flatten(2)
    layers = wanted @ torch.linalg.solve(square, maps.mT).mT
    return torch.cat([layers[:, :, :-1].flatten(1), layers[:, :, -1]], dim=1)
