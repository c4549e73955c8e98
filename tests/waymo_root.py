"""A tiny simulated Waymo root: TOP scans of 200 columns without pictures; frames 0 and 5 of six are labelled."""

import pytest

pytest.importorskip('waymo_open_dataset')

from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from waymo_open_dataset.dataset_pb2 import Frame

from cleverdistiller.simulation.frame import LidarScan, SimulatedFrame
from cleverdistiller.simulation.sensors.lidar import scan
from cleverdistiller.simulation.sensors.rigs import WAYMO
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.waymo_lidar import SEGMENTATION_ID
from cleverdistiller.simulation.writers.waymo_writer import WaymoWriter

SEGMENTS, FRAMES, LABELLED = 3, 6, (0, 5)  # the last segment is validation
COLUMNS = 200
# Waymo takes a column's azimuth from its middle.
LIDAR = replace(
    WAYMO.lidar,
    columns=COLUMNS,
    first_azimuth=WAYMO.lidar.first_azimuth + np.pi / WAYMO.lidar.columns - np.pi / COLUMNS,
)


class SmallWaymo(WaymoWriter):
    rig = replace(WAYMO, lidar=LIDAR, cameras=())


def write_waymo_root(root: Path, scene: Scene) -> list[list[LidarScan]]:
    """Write the record files; returns what was seen in the labelled frames of each segment.

    Args:
        root (Path): An empty folder.
        scene (Scene): Of five seconds; segments are different seconds of it.
    """
    writer = SmallWaymo(root, SEGMENTS, FRAMES, seed=7)
    seen = []
    for segment in range(SEGMENTS):
        scans = {index: scan(scene, LIDAR, segment + index * SmallWaymo.rig.frame_s) for index in LABELLED}
        for index in range(FRAMES):
            sweep = scans[index] if index in LABELLED else scans[0]
            writer.write_frame(SimulatedFrame(segment, index, sweep.time_s, sweep, {}, (), ()), scene)
        seen.append(list(scans.values()))
    writer.finish([[{}] * FRAMES] * SEGMENTS)
    return seen


def expected_cloud(sweep: LidarScan) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) x, y, z in the car's frame and intensity, and (N,) Waymo's ids: row by row, the second returns last."""
    order = np.lexsort([sweep.column, -sweep.ring.astype(int), sweep.echo])  # row 0 is the highest beam
    points_m = sweep.points_lidar_m @ LIDAR.lidar2ego[:3, :3].T + LIDAR.lidar2ego[:3, 3]
    return np.column_stack([points_m, sweep.intensity])[order], SEGMENTATION_ID[sweep.surface][order]


def read_records(path: Path) -> list[Frame]:
    """All frames of a record file, by TensorFlow's own reader."""
    return [Frame.FromString(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]


def write_records(path: Path, frames: list[Frame]) -> None:
    """Write a record file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as file:
        for frame in frames:
            file.write(frame.SerializeToString())


def flip_the_last_bit(path: Path) -> None:
    """Damage the last record's content, where no length tells."""
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # four bytes of checksum come after it
    path.write_bytes(content)
