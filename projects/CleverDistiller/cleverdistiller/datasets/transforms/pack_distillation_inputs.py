import torch
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures import Det3DDataSample


@TRANSFORMS.register_module()
class PackDistillationInputs(BaseTransform):
    """Hand one frame to the model.

    Required Keys:

    - points (LiDARPoints)
    - img or teacher_features, pairs, queries, superpixels, next_points, temporal_pairs (optional: only what the model
      asks for)

    Added Keys:

    - inputs (dict): ``points`` (N, 4) float32, ``images`` (V, 3, H, W) uint8 or ``teacher_features``, ``pairs``,
      ``queries``, ``superpixels`` (V, H, W) uint8, ``next_points`` (K, 4) float32, ``temporal_pairs``
    - data_samples (Det3DDataSample): its metainfo holds ``meta_keys``

    Args:
        meta_keys (tuple[str, ...]): What to remember of the frame, where present.
    """

    def __init__(
        self, meta_keys: tuple[str, ...] = ('token', 'lidar_path', 'camera_names', 'lidar_aug_matrix')
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        inputs = {'points': results['points'].tensor}
        if 'img' in results:
            inputs['images'] = torch.from_numpy(results['img']).permute(0, 3, 1, 2).contiguous()
        as_they_are = ('teacher_features', 'pairs', 'queries', 'temporal_pairs')
        inputs.update({key: results[key] for key in as_they_are if key in results})
        if 'superpixels' in results:
            inputs['superpixels'] = torch.from_numpy(results['superpixels'])
        if 'next_points' in results:
            inputs['next_points'] = results['next_points'].tensor
        known = {'lidar_path': results['lidar_points']['lidar_path'], **results}
        sample = Det3DDataSample(metainfo={key: known[key] for key in self.meta_keys if key in known})
        return dict(inputs=inputs, data_samples=sample)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
