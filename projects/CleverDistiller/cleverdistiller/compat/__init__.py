"""The only package that changes other libraries, a module each, and the whole list of what it changes.

- ``spconv.pytorch.ops.get_current_stream``: asks CUDA for a stream even when every tensor is on the CPU,
  which fails without a GPU. Replaced by a version that answers 0 there; with a GPU nothing changes.
- ``spconv.pytorch.ops.get_indice_pairs``: counts cells in int32 on a CPU, which makes neighbours of distant
  cells once a batch's grid has 2^31 cells. Above that size, and on a CPU only, :mod:`ops.neighbour_pairs`;
  above 32,768 voxels as well, where its hash table is slower.
- ``mmcv.ops``: has no CPU kernel for most operators on points. ``furthest_point_sample`` (``_with_dist``),
  ``gather_points``, ``ball_query`` and ``grouping_operation`` (of stacked clouds, too), ``knn``, ``three_nn``,
  ``three_interpolate``, ``points_in_boxes_part`` and ``_all``, ``boxes_overlap_bev``, ``boxes_iou3d``, ``nms3d``
  (``_normal``), in every module of mmcv and mmdet3d that holds one by name, and ``RoIPointPool3dFunction.forward``
  are replaced by a choice made at each call: mmcv's own function for CUDA tensors, :mod:`ops.point_ops` or
  :mod:`ops.point_box_ops` for others.
  What other detectors need besides still asks for a GPU: RoI-aware pooling (PartA2).
- ``mmcv._ext``: mmdet3d imports every operator of mmcv's, so without the compiled ones nothing of it could be imported.
  Where they do not load, a stand-in takes their place, whose operators say so when called: pretraining and
  segmentation call none. Where they load, nothing changes. Importing ``cleverdistiller`` does this.
- glibc's ``malloc`` and oneDNN, without a GPU: the first gives large blocks back to the system, which clears them anew
  for the next tensor; the second keeps kernels for shapes that never come again. ``tune_cpu_memory`` turns both round,
  unless the environment says otherwise.

Nothing else changes before the functions below are called; calling them again does nothing.
"""

from cleverdistiller.compat.cpu_memory import tune_cpu_memory
from cleverdistiller.compat.mmcv import (
    let_mmcv_import_without_operators,
    make_point_ops_run_on_cpu,
    missing_operators,
)
from cleverdistiller.compat.spconv import make_spconv_right_on_cpu

__all__ = [
    'let_mmcv_import_without_operators',
    'make_point_ops_run_on_cpu',
    'make_spconv_right_on_cpu',
    'missing_operators',
    'tune_cpu_memory',
]
