"""Whether a detector found every object of the frames that it was trained on, and nothing else.

python benchmarks/learned_by_heart.py CONFIG DETECTIONS.npz [--least-points 5] [--sure 0.5]

DETECTIONS.npz is what the metric wrote with test_evaluator.predictions_file=DETECTIONS.npz. Prints one JSON line:
objects with enough points inside the config's range; those that are found, which is that the detection of their class
that overlaps most does so by more than the class's threshold in 3D; the overlap and score of each; and how many other
detections have a higher score than ``--sure``. KITTI's AP tells little about three frames: see docs/benchmarks.md.
"""

import argparse
import json

import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import cleverdistiller  # noqa: F401  (fills the registries)
from cleverdistiller.evaluation.detection_predictions import read_detections
from cleverdistiller.evaluation.kitti_ap import MIN_OVERLAPS
from cleverdistiller.ops.point_box_ops import points_in_boxes_mask
from cleverdistiller.ops.rotated_iou import iou_3d

LEAST = {name: overlaps['3d'] for name, overlaps in MIN_OVERLAPS['official'].items()}


def check(config: str, detections: str, least_points: int, sure: float) -> dict:
    """Compare all frames of the config's test set with the detections."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    test, training = cfg.test_dataloader.dataset, cfg.train_dataloader.dataset
    labelled = [step for step in training.pipeline if step.type not in ('DetectionPointSample', 'PointShuffle')]
    frames = DATASETS.build(dict(training, data_root=test.data_root, ann_file=test.ann_file, pipeline=labelled))
    found_in, objects, false = read_detections(detections), [], 0
    for frame in frames:
        truth, found = frame['data_samples'].gt_instances_3d, found_in[frame['data_samples'].frame_id]
        boxes = truth.bboxes_3d.tensor
        counts = points_in_boxes_mask(frame['inputs']['points'][None, :, :3], boxes[None])[0].sum(1)
        overlaps = iou_3d(boxes[:, None], torch.from_numpy(found.boxes_lidar)[None])  # (G, M)
        hits = set()
        for label, points, row in zip(truth.labels_3d, counts.tolist(), overlaps):
            name = frames.metainfo['classes'][label]
            overlap, best = max(
                ((float(row[i]), i) for i in range(len(row)) if found.names[i] == name), default=(0, None)
            )
            if overlap > LEAST[name]:
                hits.add(best)
            if points >= least_points:
                score = 0.0 if best is None else round(float(found.scores[best]), 3)
                objects.append(
                    dict(frame=found.frame_id, name=name, points=points, overlap=round(overlap, 3), score=score)
                )
        false += sum(i not in hits and score > sure for i, score in enumerate(found.scores.tolist()))
    num_found = sum(one['overlap'] > LEAST[one['name']] for one in objects)
    return dict(objects=len(objects), found=num_found, false_and_sure=false, each=objects)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('detections')
    parser.add_argument('--least-points', type=int, default=5)
    parser.add_argument('--sure', type=float, default=0.5)
    print(json.dumps(check(**vars(parser.parse_args()))))
