"""mmdet3d's PointRCNN on a distilled student, with what keeps the stock one from training put right.

What is wrong in mmdet3d 1.4's PointRCNN, and where it is mended:

1. Mean sizes in another order than the classes: ``configs/_base_/models/point_rcnn_pointnet2.py``.
2. beta2 of 0.85, a data set repeated twice an epoch: ``configs/_base_/schedules/pointrcnn_80e.py``.
3. An infinite loss without a positive point, an IndexError without a box: :class:`TransferPointRPNHead`.
4. ``rpn_proposal`` where nothing reads it (configs/_base_/models/point_rcnn_pointnet2.py); a score threshold that
   crashes, ``raw_points`` gone after prediction: :class:`TransferPointRPNHead`.
5. A search for empty boxes that finds none and costs boxes x points: :class:`TransferPointRPNHead`.
6. Wrong or too few proposals in the RoI batch: :class:`PiecewiseRoISampler`.
7. A batch above one, or no proposal, at test time: :class:`TransferPointRCNNRoIHead`.
8. A MinkUNet that builds once: here it is the pretraining's own, behind :class:`StudentPointBackbone`.
9. Proposals of any size, up to 10^9 m, and boxes of infinite size: :class:`TransferPointRPNHead`,
   :class:`TransferPointRCNNBboxHead`.
10. Proposals that keep their graph, some of it for ever: :class:`TransferPointRPNHead`.
11. Nothing but far points sampled from a cloud of many, so no point in a near box: :class:`DetectionPointSample`
    (``datasets/transforms/detection_point_sample.py``).
"""

from cleverdistiller.downstream.detectors.piecewise_roi_sampler import PiecewiseRoISampler
from cleverdistiller.downstream.detectors.student_point_backbone import StudentPointBackbone
from cleverdistiller.downstream.detectors.transfer_point_rcnn import TransferPointRCNN
from cleverdistiller.downstream.detectors.transfer_point_rcnn_bbox_head import TransferPointRCNNBboxHead
from cleverdistiller.downstream.detectors.transfer_point_rcnn_roi_head import TransferPointRCNNRoIHead
from cleverdistiller.downstream.detectors.transfer_point_rpn_head import TransferPointRPNHead

__all__ = [
    'PiecewiseRoISampler',
    'StudentPointBackbone',
    'TransferPointRCNN',
    'TransferPointRCNNBboxHead',
    'TransferPointRCNNRoIHead',
    'TransferPointRPNHead',
]
