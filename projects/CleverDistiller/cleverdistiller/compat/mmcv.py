"""What is changed in mmcv's operators on points; the package's text says what and why."""

import importlib
import sys
from collections.abc import Callable
from functools import wraps
from importlib.machinery import ModuleSpec
from itertools import chain
from types import ModuleType

from torch import Tensor

from cleverdistiller.errors import InputError
from cleverdistiller.ops import point_box_ops, point_ops

_EXTENSION = 'mmcv._ext'


class _MissingOperators(ModuleType):
    """Stands for mmcv's compiled operators where they do not load: has one of any name, which says so when called."""

    def __init__(self, reason: str) -> None:
        super().__init__(_EXTENSION)
        self.__spec__ = ModuleSpec(_EXTENSION, loader=None)  # by the missing loader mmengine sees that there are none
        self.reason = reason

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)
        return lambda *args, **kwargs: require_operators(f'the operator {name}')


def let_mmcv_import_without_operators() -> None:
    """Put a stand-in for mmcv's compiled operators where they do not load; see the package's text."""
    try:
        importlib.import_module(_EXTENSION)
    except ImportError as error:
        sys.modules[_EXTENSION] = _MissingOperators(str(error).splitlines()[0])


def missing_operators() -> str | None:
    """Why mmcv's compiled operators do not load, in Python's words; None where they do.

    Returns:
        str | None: ``No module named 'mmcv._ext'`` for an mmcv installed without them; an undefined symbol for one
        built for another torch.
    """
    extension = sys.modules.get(_EXTENSION)
    return extension.reason if isinstance(extension, _MissingOperators) else None


def require_operators(wanted_by: str) -> None:
    """Refuse to go on without mmcv's compiled operators.

    Args:
        wanted_by (str): What needs them, for the message.

    Raises:
        InputError: If they do not load.
    """
    reason = missing_operators()
    if reason is not None:
        raise InputError(
            f"{wanted_by}, which needs mmcv's compiled operators ({reason})",
            'an mmcv 2.1.0 built with them for the installed torch',
            'build it with tools/build_mmcv.py, or work in the reference environment: see docs/install.md',
        )


def make_point_ops_run_on_cpu() -> None:
    """Patch ``mmcv.ops`` and its users in ``mmdet3d`` once; see the package's text. CUDA tensors see no change.

    Raises:
        InputError: If mmcv has no compiled operators: those that have a CPU kernel of mmcv's own are wanted, too.
    """
    require_operators('a detector')
    from mmcv.ops.roipoint_pool3d import RoIPointPool3dFunction

    for module, names in _HELD_BY.items():
        for name in names:
            _use_on_cpu(_TWINS[name], importlib.import_module(module), name)
    # Its backward stays mmcv's, which refuses.
    _use_on_cpu(_roi_point_pool3d, RoIPointPool3dFunction, 'forward')


def _use_on_cpu(twin: Callable, owner: object, name: str) -> None:
    stock = getattr(owner, name)
    if not hasattr(stock, 'stock'):
        setattr(owner, name, _by_device(twin, stock))


def _by_device(twin: Callable, stock: Callable) -> Callable:
    """A function that calls ``twin`` for tensors on a CPU and its attribute ``stock`` for those on a GPU."""

    @wraps(twin)
    def run(*args, **kwargs):
        tensor = next(value for value in chain(args, kwargs.values()) if isinstance(value, Tensor))
        return (run.stock if tensor.is_cuda else twin)(*args, **kwargs)

    run.stock = stock
    return run


def _ball_query(
    min_radius, max_radius, sample_num, xyz, center_xyz, xyz_batch_cnt=None, center_xyz_batch_cnt=None
) -> Tensor:
    if xyz_batch_cnt is None or center_xyz_batch_cnt is None:
        return point_ops.ball_query(min_radius, max_radius, sample_num, xyz, center_xyz)
    # As in mmcv, whose stacked kernel knows no inner radius.
    return point_ops.stacked_ball_query(max_radius, sample_num, xyz, center_xyz, xyz_batch_cnt, center_xyz_batch_cnt)


def _grouping_operation(features, indices, features_batch_cnt=None, indices_batch_cnt=None) -> Tensor:
    if features_batch_cnt is None or indices_batch_cnt is None:
        return point_ops.grouping_operation(features, indices)
    return point_ops.stacked_grouping_operation(features, indices, features_batch_cnt, indices_batch_cnt)


def _roi_point_pool3d(ctx, points, point_features, boxes3d, num_sampled_points=512) -> tuple[Tensor, Tensor]:
    return point_box_ops.roi_point_pool3d(points, point_features, boxes3d, num_sampled_points)


_TWINS: dict[str, Callable] = {
    'ball_query': _ball_query,
    'boxes_iou3d': point_box_ops.boxes_iou3d,
    'boxes_overlap_bev': point_box_ops.boxes_overlap_bev,
    'furthest_point_sample': point_ops.furthest_point_sample,
    'furthest_point_sample_with_dist': point_ops.furthest_point_sample_with_dist,
    'gather_points': point_ops.gather_points,
    'grouping_operation': _grouping_operation,
    'knn': point_ops.knn,
    'nms3d': point_box_ops.nms3d,
    'nms3d_normal': point_box_ops.nms3d_normal,
    'points_in_boxes_all': point_box_ops.points_in_boxes_all,
    'points_in_boxes_part': point_box_ops.points_in_boxes_part,
    'three_interpolate': point_ops.three_interpolate,
    'three_nn': point_ops.three_nn,
}
_HELD_BY: dict[str, tuple[str, ...]] = {
    'mmcv.ops': tuple(_TWINS),
    'mmcv.ops.ball_query': ('ball_query',),
    'mmcv.ops.furthest_point_sample': ('furthest_point_sample', 'furthest_point_sample_with_dist'),
    'mmcv.ops.gather_points': ('gather_points',),
    'mmcv.ops.group_points': ('ball_query', 'grouping_operation', 'knn'),
    'mmcv.ops.iou3d': ('boxes_iou3d', 'boxes_overlap_bev', 'nms3d', 'nms3d_normal'),
    'mmcv.ops.knn': ('knn',),
    'mmcv.ops.points_in_boxes': ('points_in_boxes_all', 'points_in_boxes_part'),
    'mmcv.ops.points_sampler': ('furthest_point_sample', 'furthest_point_sample_with_dist'),
    'mmcv.ops.three_interpolate': ('three_interpolate',),
    'mmcv.ops.three_nn': ('three_nn',),
    'mmdet3d.models.dense_heads.fcaf3d_head': ('nms3d', 'nms3d_normal'),
    'mmdet3d.models.dense_heads.groupfree3d_head': ('gather_points',),
    'mmdet3d.models.dense_heads.imvoxel_head': ('nms3d', 'nms3d_normal'),
    'mmdet3d.models.dense_heads.vote_head': ('furthest_point_sample',),
    'mmdet3d.models.layers.dgcnn_modules.dgcnn_gf_module': ('grouping_operation',),
    'mmdet3d.models.layers.pointnet_modules.point_fp_module': ('three_interpolate', 'three_nn'),
    'mmdet3d.models.layers.pointnet_modules.point_sa_module': ('gather_points',),
    'mmdet3d.models.layers.pointnet_modules.stack_point_sa_module': ('ball_query', 'grouping_operation'),
    'mmdet3d.models.middle_encoders.sparse_encoder': ('points_in_boxes_all', 'three_interpolate', 'three_nn'),
    'mmdet3d.models.middle_encoders.voxel_set_abstraction': ('furthest_point_sample',),
    'mmdet3d.models.roi_heads.mask_heads.primitive_head': ('furthest_point_sample',),
    'mmdet3d.structures.bbox_3d.base_box3d': ('points_in_boxes_all', 'points_in_boxes_part'),
}
