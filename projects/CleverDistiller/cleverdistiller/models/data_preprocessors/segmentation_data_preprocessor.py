import torch
from mmdet3d.registry import MODELS

from cleverdistiller.models.data_preprocessors.scan_data_preprocessor import ScanDataPreprocessor
from cleverdistiller.structures import SegmentationInputs


@MODELS.register_module()
class SegmentationDataPreprocessor(ScanDataPreprocessor):
    """Scans with a class for each point; see :class:`ScanDataPreprocessor` for the arguments.

    Takes what mmdet3d's ``Pack3DDetInputs`` packs: ``points`` and, in training, ``pts_semantic_mask``.
    """

    def collate(self, data: dict, training: bool) -> SegmentationInputs:
        """One batch, with its labels where the pipeline packed them."""
        joined = self.join(data['inputs']['points'], training)
        masks = [sample.gt_pts_seg.get('pts_semantic_mask') for sample in data['data_samples']]
        labels = None if masks[0] is None else torch.cat(self.cast_data(masks))  # (N,)
        return SegmentationInputs(**vars(joined), labels=labels)
