"""Waymo's record files as a detection set: point files, info records and a database of objects, made file by file.

Each finished record file leaves a part, written last, with the records of its frames: what has a part that still fits
is not done again. At the end the parts are joined. Points and boxes are in the car's frame, x forward, y left, z up.
"""

import pickle
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cleverdistiller.datasets.waymo_record_files import SPLITS, frames_in_order
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete, visible_paths
from cleverdistiller.ops.point_box_ops import points_in_boxes_mask
from cleverdistiller.plain_pickle import read_plain_pickle

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
NAME_OF_TYPE = {1: 'Car', 2: 'Pedestrian', 4: 'Cyclist'}  # Label.Type: TYPE_VEHICLE, ...; 3 is for signs
COLUMNS = 5  # float32 x, y, z, intensity, elongation
EASY, HARD = 1, 2  # Label.DifficultyLevel: LEVEL_1, LEVEL_2
MOST_POINTS_OF_HARD = 5
LEAST_POINTS_IN_DATABASE = 5  # what the samplers of all configs ask for, at least
PARTS, DATABASE = '.parts', 'gt_database'
DATABASE_SPLIT = 'training'
MEASURED_FRAMES = 3
_AGAIN = 'download the file again and run the same command again'


@dataclass(frozen=True)
class Conversion:
    """What is made of a record file.

    Args:
        out (Path): Folder of the set.
        returns (int): 1 for the LiDARs' first returns alone, or 2.
        database (bool): Whether to write the points of the training split's objects.
    """

    out: Path
    returns: int = 2
    database: bool = True

    def with_database(self, source: Path) -> bool:
        """Whether a record file's objects are written."""
        return self.database and source.parent.name == DATABASE_SPLIT


@dataclass(frozen=True)
class Cost:
    """What work on record files will take, measured on a few frames.

    Args:
        frames (int): Frames that were measured.
        out_bytes (float): For the whole work.
        seconds (float): Of one process, for the whole work.
    """

    frames: int
    out_bytes: float
    seconds: float


def convert_file(source: Path, conversion: Conversion) -> None:
    """Write the points of a record file's frames and objects, then the part that tells of them.

    Args:
        source (Path): Record file, in the folder of its split.
        conversion (Conversion): What to make of it. ``out`` gets ``SPLIT/CONTEXT/points/MICROSECONDS.bin`` and
            ``gt_database/CONTEXT/MICROSECONDS_CLASS_INDEX.bin``, the points of an object from the middle of its bottom.

    Raises:
        InputError: If the record file is damaged, truncated or empty (nothing is written then) or holds a frame twice,
            a box is not finite or has no size, or boxes do not tell how many points are in them.
    """
    # Here, because it imports TensorFlow, which whoever only hands out work does not need.
    from cleverdistiller.datasets.waymo_records import (
        check_records,
        damage_named,
        detection_points,
        read_frame,
        record_spans,
    )

    check_records(source)  # before anything is written
    source_bytes, out = source.stat().st_size, conversion.out
    records, objects, boxes, empty = [], [], 0, 0
    for span in record_spans(source):
        frame = read_frame(source, span)
        with damage_named(source):
            points = detection_points(frame, conversion.returns)
        record = frame_record(frame, source)
        if any(record['frame_id'] == other['frame_id'] for other in records):
            raise InputError(f'{source} with the frame {record["frame_id"]} twice', 'every frame once', _AGAIN)
        boxes += len(frame.laser_labels)
        empty += sum(not label.num_lidar_points_in_box for label in frame.laser_labels)
        with replace_when_complete(out / record['lidar_points']['lidar_path']) as temporary:
            temporary.write_bytes(points.tobytes())
        if conversion.with_database(source):
            if not records:  # an earlier run may have cut out others
                shutil.rmtree(out / DATABASE / frame.context.name, ignore_errors=True)
            objects += _write_objects(out, points, record)
        records.append(dict(record, num_points=len(points)))
    if boxes and boxes == empty:
        raise InputError(
            f'{source} with {boxes} boxes that hold no points',
            'num_lidar_points_in_box in the labels',
            'download perception records of version 1.3 or later',
        )
    with replace_when_complete(_part_file(source, out)) as temporary:
        content = dict(source_bytes=source_bytes, returns=conversion.returns, records=records, objects=objects)
        temporary.write_bytes(pickle.dumps({**content, 'database': conversion.with_database(source)}, protocol=4))


def frame_record(frame, source: Path) -> dict:
    """A frame in mmdet3d's info format.

    Boxes without a point and signs are left out. The difficulty is Waymo's: what labellers set, or else level 2 for at
    most five points and 1 for more.

    Args:
        frame (waymo_open_dataset.dataset_pb2.Frame): The frame.
        source (Path): Its record file, in the folder of its split.

    Returns:
        dict: A record without ``sample_idx``. ``bbox_3d`` is x, y, z of the middle of the bottom, length, width,
        height in metres and the heading in radians.

    Raises:
        InputError: If a box is not finite or has no size.
    """
    instances = []
    for label in frame.laser_labels:
        count = label.num_lidar_points_in_box
        if label.type not in NAME_OF_TYPE or count < 1:
            continue
        name, box = NAME_OF_TYPE[label.type], label.box
        bottom = box.center_z - box.height / 2
        bbox_3d = [box.center_x, box.center_y, bottom, box.length, box.width, box.height, box.heading]
        if not (np.isfinite(bbox_3d).all() and min(bbox_3d[3:6]) > 0):
            raise InputError(
                f'{source}, in which the box {label.id} of the frame {frame.timestamp_micros} is {bbox_3d}',
                'finite numbers and a size',
                _AGAIN,
            )
        by_points = HARD if count <= MOST_POINTS_OF_HARD else EASY
        instances.append(
            dict(
                bbox_3d=bbox_3d,
                bbox_label_3d=CLASSES.index(name),
                num_lidar_pts=count,
                difficulty=int(label.detection_difficulty_level) or by_points,
                track_id=label.id,
            )
        )
    context, micros = frame.context.name, frame.timestamp_micros
    lidar_path = f'{source.parent.name}/{context}/points/{micros}.bin'
    return dict(
        frame_id=f'{context}/{micros}',
        context_name=context,
        timestamp=micros,
        lidar_points=dict(lidar_path=lidar_path, num_pts_feats=COLUMNS),
        instances=instances,
    )


def cut_out_objects(points: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """The points in each box.

    Args:
        points (np.ndarray): (N, 5) float32.
        boxes (np.ndarray): (M, 7) x, y, z of the middle of the bottom, size, yaw.

    Returns:
        list[np.ndarray]: M times (n, 5) float32; x, y, z from the middle of the box's bottom, along the car's axes.
    """
    cut = []
    for box in torch.from_numpy(np.asarray(boxes, np.float32)):
        reach = box[3:5].norm() / 2  # most points are far from most boxes
        near = points[(np.abs(points[:, :2] - box[:2].numpy()) <= reach.item()).all(1)]
        inside = points_in_boxes_mask(torch.from_numpy(near[None, :, :3].copy()), box[None, None])[0, 0].numpy()
        own = near[inside]
        own[:, :3] -= box[:3].numpy()
        cut.append(own)
    return cut


def measure_cost(sources: Sequence[Path], conversion: Conversion) -> Cost:
    """Read and decode a few frames of the first record file, and expect the others to be like them.

    Args:
        sources (Sequence[Path]): Record files to convert.
        conversion (Conversion): What to make of them.

    Raises:
        InputError: If the first record file is damaged or empty.
    """
    from cleverdistiller.datasets.waymo_records import damage_named, detection_points, read_frame, record_spans

    spans = list(islice(record_spans(sources[0]), MEASURED_FRAMES + 1))
    if not spans:
        raise InputError(f'{sources[0]} without a frame', "Waymo's Frame records", _AGAIN)
    spans = spans[1:] or spans
    with damage_named(sources[0]):
        detection_points(read_frame(sources[0], spans[0]), conversion.returns)  # TensorFlow is slow at first
    started, made = time.perf_counter(), 0
    for span in spans:
        frame = read_frame(sources[0], span)
        with damage_named(sources[0]):
            points = detection_points(frame, conversion.returns)
        made += points.nbytes
        if conversion.with_database(sources[0]):
            boxes = [instance['bbox_3d'] for instance in frame_record(frame, sources[0])['instances']]
            made += sum(own.nbytes for own in cut_out_objects(points, np.reshape(boxes, (-1, 7))))
    seconds = time.perf_counter() - started
    share = sum(span.length for span in spans) / sum(source.stat().st_size for source in sources)
    return Cost(len(spans), made / share, seconds / share)


def unfinished(sources: Sequence[Path], conversion: Conversion) -> list[Path]:
    """The record files that are still to be converted."""
    return [source for source in sources if read_part(source, conversion) is None]


def read_part(source: Path, conversion: Conversion) -> dict | None:
    """What is known of a converted record file.

    Args:
        source (Path): Record file, in the folder of its split.
        conversion (Conversion): What was to be made of it.

    Returns:
        dict | None: ``records`` of its frames and ``objects`` of the database; None if it is not converted, or has
        another size than when it was, was converted otherwise, or files that it gave are gone.
    """
    try:
        part = read_plain_pickle(_part_file(source, conversion.out), 'a part of the set', _AGAIN)
        made_of = part['source_bytes'], part['returns'], part['database'] or not conversion.with_database(source)
        records, objects = part['records'], part['objects']
    except (ValueError, KeyError, TypeError):  # InputError is a ValueError: done again
        return None
    if made_of != (source.stat().st_size, conversion.returns, True):
        return None
    for record in records:
        path = conversion.out / record['lidar_points']['lidar_path']
        if not path.is_file() or path.stat().st_size != record['num_points'] * COLUMNS * 4:
            return None
    # There are millions of objects, so that they are counted only.
    folders = {(conversion.out / each['path']).parent for each in objects}
    written = sum(len(visible_paths(folder, '*.bin')) for folder in folders)
    return part if written == len(objects) else None


def join_parts(split: str, sources: Sequence[Path], conversion: Conversion) -> tuple[dict, dict[str, list[dict]]]:
    """Make a split's info file and database index of its parts.

    Args:
        split (str): One of ``SPLITS``.
        sources (Sequence[Path]): Its converted record files.
        conversion (Conversion): What was made of them.

    Returns:
        tuple[dict, dict[str, list[dict]]]: ``metainfo`` and ``data_list``, as mmdet3d 1.4 reads them (info version
        1.1), sorted by context and time; and for each class the objects of the database, as mmdet3d's
        ``DataBaseSampler`` reads them, with the frame's id as ``image_idx``. Files are named relative to ``out``.

    Raises:
        InputError: If two record files hold the same frame, or no frame has a box.
    """
    frames, records, objects = {}, {}, []
    for source in tqdm(sources, desc=f'joining {split}', unit='file'):
        part = read_part(source, conversion)
        frames[source] = [record['frame_id'] for record in part['records']]
        records.update(zip(frames[source], part['records']))
        objects += part['objects']
    in_order = frames_in_order(frames)
    if not any(record['instances'] for record in records.values()):
        raise InputError(
            f'{sources[0].parent}: {len(records)} frames without a box',
            "labelled records of Waymo's perception set",
            'check ROOT (the test split has no labels), or leave the split out with --splits',
        )
    data_list = []
    for index, frame_id in enumerate(in_order):
        record = {key: value for key, value in records[frame_id].items() if key != 'num_points'}
        data_list.append(dict(sample_idx=index, **record))
    metainfo = dict(
        dataset='waymo_detection',
        info_version='1.1',
        categories={name: label for label, name in enumerate(CLASSES)},
        returns=conversion.returns,
    )
    database = {name: [] for name in CLASSES}
    for group_id, each in enumerate(sorted(objects, key=lambda each: (each['image_idx'], each['gt_idx']))):
        database[each['name']].append(dict(each, group_id=group_id))
    return dict(metainfo=metainfo, data_list=data_list), database


def info_file(split: str, out: Path) -> Path:
    """Where a split's info file is."""
    return out / f'waymo_infos_{SPLITS[split]}.pkl'


def database_file(out: Path) -> Path:
    """Where the index of the database is."""
    return out / 'waymo_dbinfos_train.pkl'


def summary(split: str, infos: Mapping) -> str:
    """One line about an info file."""
    labels = [instance['bbox_label_3d'] for record in infos['data_list'] for instance in record['instances']]
    counts = np.bincount(labels, minlength=len(CLASSES)).tolist()
    return f'{split}: {len(infos["data_list"])} frames, ' + ', '.join(f'{n} {name}' for n, name in zip(counts, CLASSES))


def _write_objects(out: Path, points: np.ndarray, record: Mapping) -> list[dict]:
    """Write the points of a frame's objects; those with few points are left out."""
    instances = record['instances']
    boxes = np.array([instance['bbox_3d'] for instance in instances], np.float32).reshape(-1, 7)
    made = []
    for index, own in enumerate(cut_out_objects(points, boxes)):
        if len(own) < LEAST_POINTS_IN_DATABASE:
            continue
        name = CLASSES[instances[index]['bbox_label_3d']]
        path = f'{DATABASE}/{record["context_name"]}/{record["timestamp"]}_{name}_{index}.bin'
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        # Not renamed into place: there are millions, and the part is written after them.
        (out / path).write_bytes(own.tobytes())
        made.append(
            dict(
                name=name,
                path=path,
                image_idx=record['frame_id'],
                gt_idx=index,
                box3d_lidar=boxes[index],
                num_points_in_gt=len(own),
                difficulty=instances[index]['difficulty'],
            )
        )
    return made


def _part_file(source: Path, out: Path) -> Path:
    return out / PARTS / source.parent.name / f'{source.stem}.pkl'
