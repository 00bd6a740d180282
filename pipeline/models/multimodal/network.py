"""Learned questions put to all that is known of a patient: events, the encoder's views of a film, and a token that is always there.

An event becomes a token by what was observed, its value, its age and how many readings it stands for, each straight between a few knots
of its own code. Tokens meet only in the questions' weighted means: their order is nothing, and what is absent has no weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.imaging.network import CHANNELS, WIDTH
from pipeline.models.multimodal.events import CODES, NUMBERS, OBSERVABLE_OF_CODE, OBSERVABLES, VALUED, Events

BINS = 6
AGE_KNOTS = (0.0, 1.0, 3.0, 6.0, 12.0, 24.0, 48.0)
"""Hours."""
COMPONENTS = 48
"""Of each of the encoder's levels, of its means and deviations of channels."""
LEVELS = len(CHANNELS)
_QUANTILES = (0.002, *np.linspace(0, 1, BINS + 1)[1:-1], 0.998)
_VALUES, _COUNT, _AGE = 3, NUMBERS.index("count"), NUMBERS.index("age_h")
_ABSENT = -1e9


@dataclass(frozen=True, slots=True)
class Shape:
    """width: numbers of a token. own: how much more a question cares, at first, for an observable of its own than for all others.

    haste: how much less, at first, with each e-fold of a token's age in hours. dropout: of what was heard; view_dropout: of a film's
    components.
    """

    width: int = 32
    questions: int = 48
    own: float = 5.0
    haste: float = 0.0
    dropout: float = 0.4
    view_dropout: float = 0.6


DEFAULT = Shape()


@dataclass(frozen=True, slots=True)
class Scales:
    """What tokens are measured by, of the training rows and without their labels.

    knots: [valued codes, value low high, BINS + 1], quantiles, where input is clipped. seen: [codes], which occurred: what the network
    has never met it does not hear. middle: [WIDTH] and axes: [WIDTH, LEVELS * COMPONENTS], features of a film to whitened components.
    """

    knots: NDArray[np.float32]
    seen: NDArray[np.bool_]
    middle: NDArray[np.float32]
    axes: NDArray[np.float32]


def scales(events: Events, image: NDArray[np.floating]) -> Scales:
    """image: [rows, WIDTH], NaN where there is no film."""
    knots = np.zeros((VALUED, _VALUES, BINS + 1), np.float32)
    seen = np.zeros(len(CODES), bool)
    for code in np.unique(events.code):
        seen[code] = True
        if code < VALUED:
            knots[code] = np.quantile(events.numbers[events.code == code, :_VALUES], _QUANTILES, axis=0).T
    seen[0] = False
    films = image[~np.isnan(image).any(1)]
    middle, axes = np.zeros(WIDTH, np.float32), np.zeros((WIDTH, LEVELS * COMPONENTS), np.float32)
    if len(films) > COMPONENTS:
        middle, start = films.mean(0).astype(np.float32), 0
        for level, channels in enumerate(CHANNELS):
            part = slice(start, start + 2 * channels)
            axes[part, level * COMPONENTS : (level + 1) * COMPONENTS] = _whitened(films[:, part])
            start += 2 * channels
    return Scales(knots, seen, middle, axes)


def _whitened(films: NDArray[np.floating]) -> NDArray[np.floating]:
    """[features, COMPONENTS]: from centred features to principal components of size 1."""
    size = films.std(0) + 1e-6
    _, spread, axes = np.linalg.svd((films - films.mean(0)) / size, full_matrices=False)
    found: NDArray[np.floating] = axes[:COMPONENTS].T / (spread[:COMPONENTS] / np.sqrt(len(films))) / size[:, None]
    return found


class EventNetwork(nn.Module):  # type: ignore[misc]
    """Input: code int64 [n, events], 0 where there is none; numbers [n, events, NUMBERS]; image [n, WIDTH], NaN where there is none.

    Output: logits [n, outputs].
    """

    knots: Tensor
    seen: Tensor
    middle: Tensor
    axes: Tensor
    age_knots: Tensor

    def __init__(self, scales: Scales, outputs: int, shape: Shape = DEFAULT, hidden: int = 48, head: int = 32) -> None:
        super().__init__()
        for name in ("knots", "seen", "middle", "axes"):
            self.register_buffer(name, torch.from_numpy(getattr(scales, name)))
        self.register_buffer("age_knots", torch.tensor(AGE_KNOTS))
        width, questions = shape.width, shape.questions
        self.dropout, self.view_dropout = shape.dropout, shape.view_dropout
        self.what = _weights(len(CODES), width, scale=0.3)
        self.value = _weights(VALUED, _VALUES, BINS + 1, width, scale=0.4)
        self.age = _weights(VALUED, len(AGE_KNOTS), width, scale=0.2)
        self.count = _weights(VALUED, width, scale=0.2)
        self.level = _weights(LEVELS, 1, width, scale=0.3)
        self.of_components = _weights(LEVELS, COMPONENTS, width, scale=COMPONENTS**-0.5)
        self.nothing = _weights(1, 1, width, scale=0.3)
        self.question = _weights(width, questions, scale=width**-0.5)
        self.interest = nn.Parameter(_own_question(shape))
        self.haste = nn.Parameter(torch.full((questions,), shape.haste))
        self.interest_in_level = _weights(LEVELS, questions, scale=0.5)
        self.interest_in_nothing = _weights(1, questions)
        self.heard = nn.Linear(questions * width, hidden)
        self.head = _weights(outputs, hidden, head, scale=(2 / hidden) ** 0.5)
        self.head_bias = _weights(outputs, 1, head)
        self.output = _weights(outputs, head, scale=0.1)
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, code: Tensor, numbers: Tensor, image: Tensor) -> Tensor:
        """As the class says."""
        heard = torch.where(self.seen[code], code, torch.zeros_like(code))
        film = torch.isnan(image[:, :1]).to(image.dtype) * _ABSENT
        tokens = [
            torch.relu(self.nothing).expand(code.shape[0], 1, -1),
            self.views(image),
            torch.relu(self.events(code, numbers)),
        ]
        interest = [
            self.interest_in_nothing.expand(code.shape[0], 1, -1),
            self.interest_in_level + film.unsqueeze(-1),
            functional.embedding(heard, torch.cat([torch.full_like(self.interest_in_nothing, _ABSENT), self.interest]))
            - torch.log1p(numbers[..., _AGE:].clamp(min=0)) * self.haste,
        ]
        share = torch.cat([torch.matmul(part, self.question) + due for part, due in zip(tokens, interest, strict=True)], 1).softmax(1)
        pooled = sum(
            torch.matmul(part, told) for part, told in zip(share.transpose(1, 2).split([1, LEVELS, code.shape[1]], 2), tokens, strict=True)
        )
        return self.decide(pooled.flatten(1))

    def events(self, code: Tensor, numbers: Tensor) -> Tensor:
        """[n, events, width], before the bend."""
        valued = torch.where(code < VALUED, code, torch.zeros_like(code))
        knots = functional.embedding(valued, self.knots.flatten(1)).unflatten(-1, (_VALUES, BINS + 1))
        at, share = _between(numbers[..., :_VALUES], knots)
        tally = (numbers[..., _COUNT : _COUNT + 1] > 1).to(numbers.dtype)
        channel = valued.unsqueeze(-1) * _VALUES + torch.arange(_VALUES, device=code.device)
        weight = torch.cat([torch.ones_like(tally), tally, tally], -1)  # a reading's low and high are its value: once is enough
        age_at, age_share = _between(numbers[..., _AGE], self.age_knots)
        value_base = channel * (BINS + 1) + at + len(CODES)
        age_base = (valued * len(AGE_KNOTS) + age_at).unsqueeze(-1) + len(CODES) + VALUED * _VALUES * (BINS + 1)
        count_base = valued.unsqueeze(-1) + len(CODES) + VALUED * (_VALUES * (BINS + 1) + len(AGE_KNOTS))
        places = [code.unsqueeze(-1), value_base, value_base + 1, age_base, age_base + 1, count_base]
        age_share = age_share.unsqueeze(-1)
        counted = torch.log1p(numbers[..., _COUNT : _COUNT + 1].clamp(min=1)) / 3
        shares = [torch.ones_like(tally), weight * (1 - share), weight * share, 1 - age_share, age_share, tally * counted]
        return self.mixed(torch.cat(places, -1), torch.cat(shares, -1))

    def mixed(self, places: Tensor, shares: Tensor) -> Tensor:
        """The sum over the last axis of rows of the table, each times its share."""
        table = torch.cat([self.what, self.value.cumsum(2).flatten(0, 2), self.age.cumsum(1).flatten(0, 1), self.count])
        if torch.compiler.is_exporting():  # the same sum in plain steps, which any runtime knows
            return (functional.embedding(places, table) * shares.unsqueeze(-1)).sum(-2)
        flat = functional.embedding_bag(places.flatten(0, 1), table, per_sample_weights=shares.flatten(0, 1), mode="sum")
        return flat.unflatten(0, places.shape[:2])

    def views(self, image: Tensor) -> Tensor:
        """[n, LEVELS, width]: one token a level of the encoder, straight."""
        known = torch.where(torch.isnan(image), self.middle, image)
        parts = torch.matmul(known - self.middle, self.axes).clamp(-5, 5)
        parts = functional.dropout(parts, self.view_dropout, self.training).unflatten(1, (LEVELS, COMPONENTS))
        return (torch.matmul(parts.transpose(0, 1), self.of_components) + self.level).transpose(0, 1)

    def decide(self, heard: Tensor) -> Tensor:
        """Logits [n, outputs] of what the questions heard [n, questions * width]."""
        first = functional.dropout(torch.relu(self.heard(heard)), self.dropout, self.training)
        second = torch.relu(torch.matmul(first.unsqueeze(0), self.head) + self.head_bias)
        second = functional.dropout(second, self.dropout, self.training)
        return self.linear(first) + (second * self.output.unsqueeze(1)).sum(-1).T


def _between(number: Tensor, knots: Tensor) -> tuple[Tensor, Tensor]:
    """After which of `knots` [..., many] each number lies, and how far on the way to the next, 0 to 1; 0 where all knots are one."""
    at = ((number.unsqueeze(-1) >= knots).sum(-1) - 1).clamp(0, knots.shape[-1] - 2)
    steps = ((number.unsqueeze(-1) - knots[..., :-1]) / (knots[..., 1:] - knots[..., :-1]).clamp(min=1e-6)).clamp(0, 1)
    return at, (steps * functional.one_hot(at, knots.shape[-1] - 1)).sum(-1)


def _own_question(shape: Shape) -> Tensor:
    """[codes, questions]: at first each is about one observable above all, the last ones about anything; training may change that."""
    every = len(OBSERVABLES) + 1
    asked = torch.arange(shape.questions)
    asked = torch.where(asked < shape.questions // every * every, asked % every, -2)
    return shape.own * (torch.from_numpy(OBSERVABLE_OF_CODE[1:])[:, None] == asked).float()


def _weights(*shape: int, scale: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * scale)
