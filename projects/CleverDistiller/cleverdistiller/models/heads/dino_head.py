import torch.nn.functional as F
from mmdet3d.registry import MODELS
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from cleverdistiller.models.heads.mlp_head import MLPHead


@MODELS.register_module()
class DINOHead(nn.Module):
    """DINOv2's whole head (arXiv 2304.07193) as an ablation: MLP to a bottleneck, L2 norm, directions.

    The last layer has no bias and unit-length weight rows. Its output lies in a space of at most
    ``bottleneck_channels`` dimensions.

    Args:
        in_channels (int): C, student width.
        out_channels (int): D, teacher width.
        hidden_channels (int): Width of the two hidden layers.
        bottleneck_channels (int): 256 in DINOv2, 384 in its ViT-L recipe.
        use_bn (bool): BatchNorm before each GELU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        use_bn: bool = False,
    ) -> None:
        super().__init__()
        self.mlp = MLPHead(in_channels, bottleneck_channels, hidden_channels, num_layers=3, use_bn=use_bn)
        last = nn.Linear(bottleneck_channels, out_channels, bias=False)
        nn.init.trunc_normal_(last.weight, std=0.02)
        self.last = parametrizations.weight_norm(last)
        self.last.parametrizations.weight.original0.data.fill_(1.0)
        self.last.parametrizations.weight.original0.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """(P, C) to (P, D)."""
        return self.last(F.normalize(self.mlp(features), dim=-1))
