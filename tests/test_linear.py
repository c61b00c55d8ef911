"""The linear layer that reads whole pictures."""

import pytest
import torch
from torch import nn

from facehall_env.linear import PictureLinear

FEATURES = 8
PIXELS = 3 * 128 * 128


def twins() -> tuple[PictureLinear, nn.Linear]:
    torch.manual_seed(0)
    layer, plain = PictureLinear(PIXELS, FEATURES), nn.Linear(PIXELS, FEATURES)
    plain.load_state_dict(layer.state_dict())
    return layer, plain


@pytest.mark.parametrize("rows", [1, 31, 32, 33])
def test_it_is_a_linear_layer(rows: int) -> None:
    layer, plain = twins()
    pictures = torch.rand(rows, PIXELS)
    torch.testing.assert_close(layer(pictures), plain(pictures), rtol=0, atol=0)


@pytest.mark.parametrize("rows", [31, 32, 33])
def test_bfloat16_on_a_cpu_gives_every_row_its_own_value_and_gradient(rows: int) -> None:
    layer, plain = twins()
    pictures = torch.rand(rows, PIXELS)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(pictures)
    assert found.shape == (rows, FEATURES)
    assert found.dtype == torch.bfloat16
    wanted = plain(pictures)
    torch.testing.assert_close(found.float(), wanted, rtol=0.02, atol=0.02)
    found.float().square().sum().backward()
    wanted.square().sum().backward()
    assert layer.weight.grad is not None
    assert plain.weight.grad is not None
    difference = (layer.weight.grad - plain.weight.grad).norm()
    assert difference < 0.02 * plain.weight.grad.norm()


def test_weights_in_bfloat16_read_32_rows_too() -> None:
    layer = PictureLinear(PIXELS, FEATURES).to(torch.bfloat16)
    assert layer(torch.rand(32, PIXELS, dtype=torch.bfloat16)).shape == (32, FEATURES)
    assert layer(torch.rand(4, 8, PIXELS, dtype=torch.bfloat16)).shape == (4, 8, FEATURES)
