import os.path as osp

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from cleverdistiller.datasets.label_set import LabelSet
from cleverdistiller.datasets.transforms._doubts import Doubts
from cleverdistiller.errors import InputError


@TRANSFORMS.register_module()
class LoadPointLabels(BaseTransform):
    """Read a label file, check it against its cloud, and turn raw ids into classes.

    The dataset's :class:`LabelSet` says how the file is laid out and what the ids mean. What is unlikely (ids that the
    dataset does not document, training ids in the place of raw ones) is said once.

    Required Keys:

    - lidar_path (str)
    - pts_semantic_mask_path (str)
    - label_set (LabelSet)
    - points (LiDARPoints)

    Modified Keys:

    - eval_ann_info (dict, optional): gets ``pts_semantic_mask``

    Added Keys:

    - pts_semantic_mask (np.ndarray): (N,) int64, class, or ``label_set.ignore_index``

    Raises:
        InputError: If the file is missing, has another number of rows than the cloud, an id out of the dataset's
            range, or rows of another type.
    """

    def __init__(self) -> None:
        self._doubts = Doubts()

    def transform(self, results: dict) -> dict:
        path, labels = results.get('pts_semantic_mask_path'), results['label_set']
        if not path or not osp.isfile(path):
            found = f'the label file {path}, which is not there' if path else 'no label file'
            raise InputError(
                f'{results["lidar_path"]} with {found}',
                'labels for every scan',
                'unpack the labels and index the set again; a test set without labels needs a pipeline without '
                'LoadPointLabels',
            )
        results['pts_semantic_mask'] = labels.decode(self._raw_ids(path, labels, len(results['points'])))
        if 'eval_ann_info' in results:
            results['eval_ann_info']['pts_semantic_mask'] = results['pts_semantic_mask']
        return results

    def _raw_ids(self, path: str, labels: LabelSet, points: int) -> np.ndarray:
        row = np.dtype(labels.dtype).itemsize
        if osp.getsize(path) != points * row:
            raise InputError(
                f'{path} of {osp.getsize(path)} bytes, {osp.getsize(path) / row:g} labels',
                f'{points} labels of {row} bytes, one for each point of its scan',
                'scan and labels are of different frames, or a file is truncated: unpack both again',
            )
        rows = np.fromfile(path, labels.dtype)
        if fault := labels.rows_fault(rows):
            raise InputError(
                f'{path} with {fault}',
                f'{np.dtype(labels.dtype).name} ids from 0 to {labels.max_raw_id}',
                'the labels are of another dataset or type, or the file is damaged: convert it, or unpack it again',
            )
        ids = labels.ids_of(rows)
        self._doubts.tell(path, labels.rows_doubts(ids))
        return ids

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
