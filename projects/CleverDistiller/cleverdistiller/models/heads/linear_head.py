from mmdet3d.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LinearHead(nn.Module):
    """One linear layer: ScaLR's projection to the teacher's width, or a linear probe's classifier.

    Args:
        in_channels (int): C, student width.
        out_channels (int): D, teacher width, or K classes.
        use_bn (bool): BatchNorm before the layer (ScaLR's probe).
    """

    def __init__(self, in_channels: int, out_channels: int, use_bn: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels) if use_bn else nn.Identity()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """(P, C) to (P, D)."""
        return self.linear(self.norm(features))
