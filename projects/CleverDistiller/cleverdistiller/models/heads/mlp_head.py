from itertools import pairwise

from mmdet3d.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MLPHead(nn.Module):
    """CleverDistiller's projection head: linear layers with GELU between them, C -> h -> ... -> D.

    ``num_layers=3`` is the paper's head (``mlp3``), 2 its ablation (``mlp2``). Weights start truncated
    normal (0.02), biases at zero, as in DINOv2's head, whose prototypes are left out.

    Args:
        in_channels (int): C, student width.
        out_channels (int): D, teacher width.
        hidden_channels (int): h; the paper compares 2048 and 256.
        num_layers (int): Linear layers, at least 2.
        use_bn (bool): BatchNorm before each GELU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 2048,
        num_layers: int = 3,
        use_bn: bool = False,
    ) -> None:
        super().__init__()
        layers = []
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        for c_in, c_out in pairwise(widths[:-1]):
            layers += [nn.Linear(c_in, c_out), *([nn.BatchNorm1d(c_out)] if use_bn else []), nn.GELU()]
        layers.append(nn.Linear(*widths[-2:]))
        self.layers = nn.Sequential(*layers)
        init_linear_layers(self)

    def forward(self, features: Tensor) -> Tensor:
        """(P, C) to (P, D)."""
        return self.layers(features)


def init_linear_layers(module: nn.Module) -> None:
    """Truncated normal weights (0.02) and zero biases in every linear layer."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
