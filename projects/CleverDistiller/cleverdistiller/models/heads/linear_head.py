from mmdet3d.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LinearHead(nn.Module):
    """One linear layer from student to teacher width (ScaLR's head).

    Args:
        in_channels (int): C, student width.
        out_channels (int): D, teacher width.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """(P, C) to (P, D)."""
        return self.linear(features)
