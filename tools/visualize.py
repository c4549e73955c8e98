"""Pictures without a display.

python tools/visualize.py pairs CONFIG [--index 0] [--out pairs.png] [--cfg-options KEY=VALUE ...]
    The LiDAR points of one training frame on the images they are paired with, coloured by depth, drawn on
    images of --size rows and columns (the teacher itself sees 224 x 448).

python tools/visualize.py features CONFIG CHECKPOINT [--against CONFIG CHECKPOINT ...] [--set val] [--index 0]
                                   [--cameras NAME ...] [--reach 50] [--out features.png] [--cfg-options KEY=VALUE ...]
    What the teacher and the student see on one frame, in the same colours: pictures, the teacher's features of the
    image patches, the student's of the LiDAR points, and both from above. CHECKPOINT is epoch_N.pth of the config's
    training, which holds the projection head. --against adds another student of the same teacher, with its config.

python tools/visualize.py similarity CONFIG CHECKPOINT [--against CONFIG CHECKPOINT ...] [--set val] [--index 0]
                                     [--camera CAM_FRONT] [--query U V ...] [--scale LOW HIGH] [--reach 50]
                                     [--out similarity.png] [--cfg-options KEY=VALUE ...]
    What is similar to the thing at a pixel (column U, row V of the picture as it is stored), for the teacher on the
    picture and for the student in the point cloud, a row for each --query U V. Without --query: three places that the
    teacher finds unlike each other. --scale fixes the cosines at the ends of the colours, to compare sheets.

python tools/visualize.py frame ROOT [--format auto] [--index 0] [--points] [--version v1.0-mini] [--out frame.png]
    One frame of a nuScenes, KITTI, SemanticKITTI or Waymo root, or of an mmdet3d info file, on one sheet: the
    cameras with the 3D boxes, the frame from above, and how many points each class and boxes each type has.
    Frames that tools/simulate.py made carry a banner that says so.

python tools/visualize.py errors CONFIG CHECKPOINT [--index 0 5 9] [--reach 50] [--out errors.png]
    Ground truth, prediction and errors of a segmentor on frames of the config's test set, from above.

python tools/visualize.py predictions CONFIG CHECKPOINT [--index 0 5 9] [--reach 50] [--out predictions.png]
    Predictions alone; the frames need no labels.

python tools/visualize.py detections CONFIG PREDICTIONS.npz [--frames ID ...] [--score 0.3] [--reach 40]
                                     [--out detections.png]
    Detections against ground truth on frames of the config's test set, from above and in the picture: what was found,
    missed and false. PREDICTIONS.npz is what the metric wrote with test_evaluator.predictions_file=PREDICTIONS.npz;
    no detector is run. Objects of other classes (KITTI's vans) are not in the dataset: a detection on one is drawn as
    false, although KITTI's evaluation ignores it.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from _packaged import ConfigOptions, clear_errors
from cleverdistiller.engine.cached_config import reads_cache, without_teacher_cache
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import read_detections
from cleverdistiller.fileio import load_strictly, read_state_dict, replace_when_complete
from cleverdistiller.ops.projection import project_points
from cleverdistiller.provenance import is_simulated
from cleverdistiller.visualization import (
    DistilledFrame,
    FrameView,
    SegmentedFrame,
    detected_frames,
    draw_detections,
    draw_errors,
    draw_features,
    draw_frame,
    draw_pairs,
    draw_predictions,
    draw_similarity,
)
from cleverdistiller.visualization.ahead_yaw import ahead_yaw
from cleverdistiller.visualization.distillation import distil_frame, load_distiller, tell_student, tell_teacher
from cleverdistiller.visualization.paired_frame import load_paired_frame, paired_dataset, pairing_steps
from cleverdistiller.visualization.readers import FORMATS, read_frame
from cleverdistiller.visualization.similarity_queries import nearest_pair, unlike_pairs

KINDS = {'.png': dict(format='PNG'), '.jpg': dict(format='JPEG', quality=80), '.jpeg': dict(format='JPEG', quality=80)}


def check_name(path: str) -> None:
    """Refuse a picture's name before the work is done.

    Raises:
        InputError: If it ends in something else than .png or .jpg.
    """
    if Path(path).suffix.lower() not in KINDS:
        raise InputError(f'--out {path}', 'a name that ends in .png or .jpg', 'rename it')


def save(picture: Image.Image, path: str) -> None:
    """Write a picture in the format that its name ends in.

    Raises:
        InputError: If it cannot be written there.
    """
    try:
        with replace_when_complete(path) as temporary:
            picture.save(temporary, **KINDS[Path(path).suffix.lower()])
    except OSError as error:
        raise InputError(
            f'--out {path}, which cannot be written ({error.strerror or error})', 'a writable folder', 'choose another'
        ) from error


def with_images(config: str, options: dict) -> Config:
    """A pretraining config that looks at its images, also where its training read a cache of teacher features."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(options)
    return without_teacher_cache(cfg) if reads_cache(cfg) else cfg


def pairs(args: argparse.Namespace) -> None:
    """Run the config's own loading and pairing steps on one frame and draw the result."""
    from mmdet3d.registry import DATASETS
    from mmengine.registry import init_default_scope

    cfg = with_images(args.config, args.cfg_options)
    init_default_scope(cfg.default_scope)
    dataset_cfg = cfg.train_dataloader.dataset
    dataset_cfg.pipeline = pairing_steps(cfg)
    for step in dataset_cfg.pipeline:
        if step['type'] == 'LoadCameraImages':
            step['size_hw'] = tuple(args.size)
    dataset = DATASETS.build(dataset_cfg)
    if not 0 <= args.index < len(dataset):
        raise InputError(f'--index {args.index}', f'0 to {len(dataset) - 1}', 'choose a frame of the dataset')
    frame = dataset[args.index]
    found = frame['pairs']
    _, depth_m = project_points(
        frame['points'].tensor[:, :3], torch.from_numpy(frame['lidar2cam']), torch.from_numpy(frame['cam2img'])
    )
    picture = draw_pairs(
        frame['img'],
        frame['camera_names'],
        np.asarray(found.image_index),
        np.asarray(found.uv_px),
        depth_m[found.image_index, found.point_index].numpy(),
    )
    save(picture, args.out)
    print(f'{len(found)} pairs of {len(frame["points"])} points in {len(frame["img"])} images: {args.out}')


def frame(args: argparse.Namespace) -> None:
    """Read one frame in its benchmark's own format and draw its sheet."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # TensorFlow, which Waymo's reader imports, talks much
    if args.reach < 1:
        raise InputError(f'--reach {args.reach}', '1 metre or more', 'leave it at 50')
    view = read_frame(args.root, args.index, args.format, args.version)
    picture = draw_frame(view, points=args.points, reach_m=args.reach)
    save(picture, args.out)
    origin = ' (simulated: says nothing about real roads)' if view.simulated else ''
    print(f'{view.title}{origin}: {len(view.points_lidar_m)} points, {len(view.box_names)} boxes: {args.out}')


def features(args: argparse.Namespace) -> None:
    """Run a teacher and its students over one frame and draw their features."""
    frame = distilled(args)
    save(draw_features(frame, args.cameras, args.reach), args.out)
    for student in frame.students:
        print(f'{student.name}: mean cosine to the teacher {frame.agreement(student):.3f}')
    print(f'one constant for all points could reach {frame.constant_agreement():.3f}')
    print(f'drawn: {args.out}')


def similarity(args: argparse.Namespace) -> None:
    """Run a teacher and its student over one frame and draw what is similar to the queries."""
    if args.scale and not args.scale[0] < args.scale[1]:
        raise InputError(f'--scale {args.scale[0]:g} {args.scale[1]:g}', 'LOW below HIGH', 'swap them')
    frame = distilled(args)
    camera = frame.camera_index(args.camera or frame.cameras[0].name)
    queries = [nearest_pair(frame, camera, query) for query in args.query] or unlike_pairs(frame, camera)
    save(draw_similarity(frame, camera, queries, args.reach, args.scale), args.out)
    for u, v in frame.uv_px[queries]:
        print(f'--query {u:.0f} {v:.0f}')
    print(f'drawn: {args.out}')


def distilled(args: argparse.Namespace) -> DistilledFrame:
    """Features of the frame that the arguments name, loaded as the first config loads it.

    Args:
        args (argparse.Namespace): Of ``features`` or ``similarity``.

    Returns:
        DistilledFrame: With the first student, then those of ``--against``.

    Raises:
        InputError: If a config, a checkpoint or the frame is not what it should be.
    """
    from mmengine.registry import init_default_scope

    if args.reach < 1:
        raise InputError(f'--reach {args.reach}', '1 metre or more', 'leave it at 50')
    students = [(args.config, args.checkpoint), *args.against]
    cfgs = [with_images(config, args.cfg_options) for config, _ in students]
    init_default_scope(cfgs[0].default_scope)
    frame, view = load_paired_frame(paired_dataset(cfgs[0], args.set), args.index)
    distillers = [
        (tell_student(cfg, checkpoint), load_distiller(cfg, checkpoint)) for cfg, (_, checkpoint) in zip(cfgs, students)
    ]
    return distil_frame(frame, view, tell_teacher(cfgs[0]), distillers)


def segmented(args: argparse.Namespace) -> None:
    """Predict frames of the config's test set and draw them as ``args.draw`` does."""
    from mmengine.registry import init_default_scope

    if args.reach < 1:
        raise InputError(f'--reach {args.reach}', '1 metre or more', 'leave it at 50')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    frames = predict_frames(cfg, args.checkpoint, args.index)
    save(args.draw(frames, args.reach), args.out)
    for frame in frames:
        told = '' if frame.view.labels is None else f': {frame.told()}'
        print(f'{frame.view.title}{told}')
    print(f'drawn: {args.out}')


def predict_frames(cfg: Config, checkpoint: str, indices: list[int]) -> list[SegmentedFrame]:
    """Run a trained segmentor over some frames of ``cfg.test_dataloader``'s dataset.

    Args:
        cfg (Config): Of configs/segmentation or configs/demo.
        checkpoint (str): ``epoch_N.pth`` of its training; every tensor must fit.
        indices (list[int]): Frames, from 0.

    Returns:
        list[SegmentedFrame]: In the order of ``indices``.

    Raises:
        InputError: If the config is no segmentor's, the checkpoint does not fit, or there is no such frame.
    """
    from mmdet3d.registry import DATASETS, MODELS
    from mmengine.dataset import pseudo_collate
    from mmengine.device import get_device

    if cfg.model.type != 'StudentSegmentor':
        raise InputError(
            f'a config whose model is a {cfg.model.type}', 'a segmentor', 'use one of configs/segmentation'
        )
    model = MODELS.build(cfg.model).eval().to(get_device())
    load_strictly(model, read_state_dict(checkpoint), checkpoint, 'give the config it was trained with')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    frames = []
    for index in indices:
        if not 0 <= index < len(dataset):
            raise InputError(f'--index {index}', f'0 to {len(dataset) - 1}', 'choose frames of the test set')
        packed, info = dataset[index], dataset.get_data_info(index)
        truth = packed['data_samples'].eval_ann_info.get('pts_semantic_mask')
        points = packed['inputs']['points'][:, :3].numpy()
        [sample] = model.test_step(pseudo_collate([packed]))
        view = FrameView(
            title=f'{dataset.name}  {info["frame_id"]}',
            camera_rows=(),
            points_lidar_m=points,
            labels=None if truth is None else np.where(truth == dataset.ignore_index, -1, truth),
            class_names=tuple(dataset.metainfo['classes']),
            boxes_lidar_m=np.zeros((0, 7)),
            box_names=(),
            ahead_yaw=ahead_yaw(info['lidar_points']),
            simulated=is_simulated(dataset.data_root),
        )
        frames.append(SegmentedFrame(view, sample.pred_pts_seg.pts_semantic_mask.cpu().numpy()))
    return frames


def detections(args: argparse.Namespace) -> None:
    """Judge detections on disk against the objects of the config's test set and draw them."""
    from mmdet3d.registry import DATASETS
    from mmengine.registry import init_default_scope

    if args.reach < 1:
        raise InputError(f'--reach {args.reach}', '1 metre or more', 'leave it at 40')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    found = read_detections(args.predictions)
    frames = detected_frames(DATASETS.build(cfg.test_dataloader.dataset), found, args.frames, args.score)
    save(draw_detections(frames, args.reach), args.out)
    for frame in frames:
        print(f'{frame.view.title}: {frame.told()}')
    print(f'drawn: {args.out}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('pairs', help='LiDAR points on the images')
    command.add_argument('config')
    command.add_argument('--index', type=int, default=0, help='frame of the training set')
    command.add_argument('--size', type=int, nargs=2, default=(450, 800), metavar=('ROWS', 'COLS'))
    command.add_argument('--out', default='pairs.png')
    command.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    command.set_defaults(run=pairs)
    for name, run, what in (
        ('features', features, "teacher's and students' features in the same colours"),
        ('similarity', similarity, 'what is similar to a chosen pixel, for teacher and student'),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument('config', help='of pretraining')
        command.add_argument('checkpoint', help='epoch_N.pth of its training')
        command.add_argument('--set', choices=('val', 'train'), default='val', help="which of the config's sets")
        command.add_argument('--index', type=int, default=0, help='frame of the set, from 0')
        command.add_argument('--reach', type=float, default=50.0, metavar='METRES', help='of the view from above')
        command.add_argument('--out', default=f'{name}.png')
        command.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={}, help='for all configs')
        command.add_argument('--against', nargs=2, action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'))
        if run is features:
            command.add_argument('--cameras', nargs='+', default=[], metavar='NAME', help='to show; default: all')
        else:
            command.add_argument('--camera', help='default: the first one')
            command.add_argument('--query', nargs=2, type=float, action='append', default=[], metavar=('U', 'V'))
            command.add_argument('--scale', nargs=2, type=float, metavar=('LOW', 'HIGH'), help='of the colours')
        command.set_defaults(run=run)
    command = commands.add_parser('frame', help='one frame of any format on one sheet')
    command.add_argument('root', help="a benchmark's folder, one .tfrecord, or one info file .pkl")
    command.add_argument('--format', default='auto', help=f'auto or one of {", ".join(FORMATS)}')
    command.add_argument('--index', type=int, default=0, help='number of the frame, from 0')
    command.add_argument('--version', help="of nuScenes' tables, where a root has more than one")
    command.add_argument('--points', action='store_true', help='draw the points on the pictures too')
    command.add_argument('--reach', type=float, default=50.0, metavar='METRES', help='of the view from above')
    command.add_argument('--out', default='frame.png')
    command.set_defaults(run=frame)
    for name, draw, what in (
        ('errors', draw_errors, 'ground truth, prediction and errors of a segmentor'),
        ('predictions', draw_predictions, "a segmentor's predictions"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument('config')
        command.add_argument('checkpoint')
        command.add_argument('--index', type=int, nargs='+', default=[0], help='frames of the test set, from 0')
        command.add_argument('--reach', type=float, default=50.0, metavar='METRES', help='of the view from above')
        command.add_argument('--out', default=f'{name}.png')
        command.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
        command.set_defaults(run=segmented, draw=draw)
    command = commands.add_parser('detections', help='detections on disk against ground truth')
    command.add_argument('config')
    command.add_argument('predictions', help='.npz that the metric wrote')
    command.add_argument('--frames', nargs='+', default=[], metavar='ID', help='default: the first one')
    command.add_argument('--score', type=float, default=0.3, help='detections below are left out')
    command.add_argument('--reach', type=float, default=40.0, metavar='METRES', help='of the view from above')
    command.add_argument('--out', default='detections.png')
    command.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    command.set_defaults(run=detections)
    args = parser.parse_args()
    with clear_errors():
        check_name(args.out)
        args.run(args)


if __name__ == '__main__':
    main()
