import re

import numpy as np
from mmdet3d.registry import METRICS

from cleverdistiller.datasets.label_set import SEMANTIC_KITTI
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.seg_submission import SegSubmission


@METRICS.register_module()
class SemanticKittiSegSubmission(SegSubmission):
    """Predictions as SemanticKITTI's single-scan benchmark wants them: raw ids, four bytes a point.

    ``sequences/SS/predictions/FFFFFF.label``, which semantic-kitti-api validates and evaluates.

    Args:
        out_dir (str): Folder to fill.
        **kwargs: See :class:`SegSubmission`.

    Raises:
        InputError: If a frame's ``frame_id`` is not ``SS/FFFFFF``; see also :class:`SegSubmission`.
    """

    raw_ids = SEMANTIC_KITTI.first_raw_ids.astype(np.uint32)

    def file_of(self, sample: dict) -> str:
        """Named after sequence and frame."""
        frame_id = sample.get('frame_id')
        if not re.fullmatch(r'\d\d/\d{6}', str(frame_id)):
            raise InputError(
                f'{sample.get("lidar_path")} with the frame id {frame_id}',
                'SEQUENCE/FRAME of SemanticKITTI, such as 11/000042',
                'test on SemanticKittiSegmentation, with frame_id among the meta_keys of Pack3DDetInputs',
            )
        sequence, frame = frame_id.split('/')
        return f'sequences/{sequence}/predictions/{frame}.label'
