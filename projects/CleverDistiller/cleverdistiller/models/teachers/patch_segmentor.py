from __future__ import annotations

import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import PointData
from mmengine.model import BaseModel
from torch import Tensor, nn

from cleverdistiller.models.teachers.timm_vit_teacher import create_vit
from cleverdistiller.structures import rows_and_columns


@MODELS.register_module()
class PatchSegmentor(BaseModel):
    """A vision transformer that learns from images what each patch shows, to become a teacher.

    For where no foundation model is at hand: its features tell things apart by their looks, as DINOv2's do, and have
    never seen a LiDAR point. A linear layer on the final LayerNorm's output gives each patch a class; the loss is the
    cross-entropy with the share that each class has of the patch. :class:`ExportTeacherHook` writes the transformer
    alone, for :class:`TimmViTTeacher`.

    Args:
        name (str): timm model name.
        num_classes (int): K.
        image_size_hw (tuple[int, int]): Rows and columns of the input, multiples of the patch size.
        arch (dict | None): Changes to the architecture, as timm.create_model takes them.
        balance (float): Classes weigh as their share of the batch to the power of minus this: 0 for all patches alike,
            1 for all classes alike.

    Raises:
        InputError: If timm does not know the name or the architecture, or the size is not two numbers.
    """

    def __init__(
        self,
        name: str,
        num_classes: int,
        image_size_hw: tuple[int, int],
        arch: dict | None = None,
        balance: float = 0.5,
    ) -> None:
        super().__init__()
        size_hw = rows_and_columns(image_size_hw, 'model.image_size_hw')
        # The teacher's options; its position table is that of this image size.
        self.arguments = dict(name=name, image_size_hw=size_hw, arch=dict(arch or {}, img_size=size_hw))
        self.balance = balance
        self.vit = create_vit(name, 'random', self.arguments['arch'])
        self.classifier = nn.Linear(self.vit.embed_dim, num_classes)
        config = self.vit.pretrained_cfg
        self.register_buffer('mean', torch.tensor(config['mean']).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(config['std']).view(1, 3, 1, 1), persistent=False)

    def forward(
        self, inputs: list[Tensor], data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list | Tensor:
        """Losses (``loss``), data samples with a class for each patch (``predict``), or logits (``tensor``).

        Args:
            inputs (list[Tensor]): (3, H, W) uint8 RGB each.
            data_samples (list[Det3DDataSample] | None): With ``gt_pts_seg.patch_share`` (h * w, K) for the loss.
            mode (str): See above.

        Returns:
            dict[str, Tensor] | list | Tensor: ``loss_patch``; the samples with ``pred_pts_seg.pts_semantic_mask``
            (h * w,); or (B, h * w, K).
        """
        logits = self._logits(torch.stack(inputs))
        if mode == 'loss':
            shares = torch.stack([sample.gt_pts_seg.patch_share for sample in data_samples]).to(logits.device)
            return dict(loss_patch=soft_cross_entropy(logits, shares, self.balance))
        if mode == 'predict':
            for sample, predicted in zip(data_samples, logits.argmax(-1)):
                sample.pred_pts_seg = PointData(pts_semantic_mask=predicted)
            return data_samples
        return logits

    def _logits(self, images: Tensor) -> Tensor:
        tokens = self.vit.forward_features((images / 255 - self.mean) / self.std)  # (B, prefix + h w, D)
        return self.classifier(tokens[:, self.vit.num_prefix_tokens :])


def soft_cross_entropy(logits: Tensor, shares: Tensor, balance: float) -> Tensor:
    """Cross-entropy with labels that share a patch, rare classes weighing more.

    Args:
        logits (Tensor): (..., K).
        shares (Tensor): (..., K), at least 0; each patch's add up to 1.
        balance (float): Classes weigh as their share of the batch to the power of minus this.

    Returns:
        Tensor: Scalar, the weighted mean.
    """
    shares = shares.flatten(0, -2)
    present = shares.mean(0)
    weighted = shares * present.clamp(min=1e-4) ** -balance
    return -(weighted * logits.flatten(0, -2).log_softmax(-1)).sum() / weighted.sum()
