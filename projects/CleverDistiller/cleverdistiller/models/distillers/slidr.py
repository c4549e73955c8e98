import torch
from mmdet3d.registry import MODELS
from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.models.distillers.contrastive_distiller import ContrastiveDistiller
from cleverdistiller.ops.superpixels import group_means, superpixel_at, superpixel_means
from cleverdistiller.ops.voxelize import gather_rows
from cleverdistiller.structures import DistillationInputs


@MODELS.register_module()
class SLidR(ContrastiveDistiller):
    """SLidR (arXiv 2203.16258): the points of a superpixel must find it among the other superpixels.

    A superpoint is the mean of the unit embeddings of the paired points in a superpixel; the superpixel's own
    embedding is the mean over all its pixels, whether a point falls on them or not. Neither mean is made a unit
    vector again, and superpixels without a point are left out, also as negatives.

    See :class:`ContrastiveDistiller` for the arguments.
    """

    def contrast(self, features: Tensor, image_embeddings: Tensor, inputs: DistillationInputs) -> tuple[Tensor, Tensor]:
        """See :meth:`ContrastiveDistiller.contrast`; K is the number of superpixels with a point.

        Raises:
            InputError: If the batch has no superpixels.
        """
        if inputs.superpixels is None:
            raise InputError(
                'a batch without superpixels for SLidR',
                'those of its images',
                'put LoadSuperpixels after LoadCameraImages in the pipeline',
            )
        pairs = inputs.pairs
        row = superpixel_at(inputs.superpixels, pairs.image_index, pairs.uv_px)  # (P,)
        with_point, group = torch.unique(row, return_inverse=True)  # (K,), (P,)
        superpoints = group_means(self.embed_points(features, inputs), group, len(with_point))
        means = superpixel_means(image_embeddings, inputs.superpixels, self.align_corners)
        return superpoints, gather_rows(means, with_point)
