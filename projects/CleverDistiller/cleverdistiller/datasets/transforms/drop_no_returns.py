from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS


@TRANSFORMS.register_module()
class DropNoReturns(BaseTransform):
    """Leave out rows at exactly (0, 0, 0): RELLIS-3D stores a row for every beam, also where nothing came back.

    Their labels, which are void, go with them, so no score changes.

    Required Keys:

    - points (LiDARPoints)
    - pts_semantic_mask (np.ndarray, optional)
    - eval_ann_info (dict, optional)

    Modified Keys:

    - points, pts_semantic_mask, eval_ann_info
    """

    def transform(self, results: dict) -> dict:
        returned = (results['points'].tensor[:, :3] != 0).any(1)
        results['points'] = results['points'][returned]
        if 'pts_semantic_mask' in results:
            results['pts_semantic_mask'] = results['pts_semantic_mask'][returned.numpy()]
            if 'eval_ann_info' in results:
                results['eval_ann_info']['pts_semantic_mask'] = results['pts_semantic_mask']
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
