"""The linear layer that reads whole pictures."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_AVOIDED_ROWS: Final = 32


class PictureLinear(nn.Linear):
    """`torch.nn.Linear` for inputs of tens of thousands of values, such as all pixels of a picture.

    On CPUs with AMX, oneDNN 3.12 (that of torch 2.13) divides by zero and takes the process down where 32
    rows of 128 * 128 * 3 values meet weights in bfloat16. So 32 rows are given one more, which is cut off.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        rows = inputs.shape[:-1]
        if inputs.device.type != "cpu" or rows.numel() != _AVOIDED_ROWS or not self._in_bfloat16(inputs):
            return super().forward(inputs)
        flat = inputs.flatten(0, -2)
        longer = F.linear(torch.cat((flat, flat[:1])), self.weight, self.bias)
        return longer[:_AVOIDED_ROWS].reshape(*rows, self.out_features)

    @staticmethod
    def _in_bfloat16(inputs: Tensor) -> bool:
        if torch.is_autocast_enabled("cpu"):
            return torch.get_autocast_dtype("cpu") == torch.bfloat16
        return inputs.dtype == torch.bfloat16
