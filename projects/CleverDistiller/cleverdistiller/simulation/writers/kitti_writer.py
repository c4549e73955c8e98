"""KITTI's object detection benchmark: the left colour camera, the LiDAR and boxes in the camera's frame."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.simulation.boxes import before_the_camera
from cleverdistiller.simulation.frame import LidarScan, ObjectState, SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import KITTI, KITTI_R0_RECT, KITTI_VELO_TO_CAM, Rig
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.kitti_files import (
    IMU_TO_VELO,
    LIDAR2RECT,
    PROJECTIONS,
    write_calibration,
    write_image,
    write_points,
)
from cleverdistiller.simulation.writers.writer import Writer

TYPES = {
    SurfaceClass.CAR: 'Car',
    SurfaceClass.TRUCK: 'Truck',
    SurfaceClass.BUS: 'Misc',
    SurfaceClass.TRAILER: 'Misc',
    SurfaceClass.CONSTRUCTION_VEHICLE: 'Misc',
    SurfaceClass.MOTORCYCLE: 'Misc',
    SurfaceClass.MOTORCYCLIST: 'Misc',
    SurfaceClass.BICYCLIST: 'Cyclist',
    SurfaceClass.PEDESTRIAN: 'Pedestrian',
}  # KITTI has no label for a bicycle without rider, a cone or a barrier
VAN_LENGTH_M, VAN_HEIGHT_M = 5.0, 1.95
LEAST_HEIGHT_PX = 25  # KITTI evaluates nothing smaller
LEAST_VISIBLE_SHARE = 0.1
CORNERS_LHW = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0, -1) for z in (-0.5, 0.5)])


class KittiWriter(Writer):
    """Writes ``training``, ``testing`` and ``ImageSets`` as KITTI's object benchmark publishes them.

    Whole scenes are for training or for validation, a third of them, the last ones, for validation. The test set,
    which has no labels, is the very last scene of four or more; of fewer it is the very last frame, because
    mmdet3d's converter fails on an empty list. A single scene has its first two thirds for training.

    Boxes are upright in the rectified camera's frame, as the benchmark's readers take them, and have two decimals.
    The rectified camera looks 0.9 degrees off the horizontal, so a box leans by that against the world; its middle is
    where the object's middle is. ``bbox`` is the projection of the box as written.

    Args:
        root (Path): A folder; made with the first file.
        scenes (int): Number of scenes.
        frames (int): Keyframes in each.
        seed (int): For the note only.

    Raises:
        InputError: If there are too few frames for a training, a validation and a test list.
    """

    format: ClassVar[str] = 'kitti'
    rig: Rig = KITTI

    def __init__(self, root: Path, scenes: int, frames: int, seed: int) -> None:
        super().__init__(root, scenes, frames, seed)
        if not all(self._image_sets().values()):
            raise InputError(
                f'{scenes} scenes of {frames} frames for KITTI',
                'at least one frame each for training, validation and test',
                'take 3 frames of one scene, 2 of two or three, or four scenes',
            )

    def write_frame(self, frame: SimulatedFrame, scene: Scene) -> dict:
        """Write one frame's points, picture, calibration and, outside the test set, labels.

        Args:
            frame (SimulatedFrame): With the image ``image_2``.
            scene (Scene): Not used; other formats need it.

        Returns:
            dict: ``labels``, type to number of rows in the label file.
        """
        is_test = self._split(frame.scene, frame.index) == 'test'
        folder = self.root / ('testing' if is_test else 'training')
        name = f'{self._number(frame.scene, frame.index):06d}'
        write_points(folder / 'velodyne' / f'{name}.bin', frame.scan)
        write_image(folder / 'image_2' / f'{name}.png', frame.images['image_2'].rgb)
        calibration = PROJECTIONS | dict(
            R0_rect=KITTI_R0_RECT, Tr_velo_to_cam=KITTI_VELO_TO_CAM, Tr_imu_to_velo=IMU_TO_VELO
        )
        write_calibration(folder / 'calib' / f'{name}.txt', calibration)
        if is_test:
            return dict(labels={})
        rows = label_rows(frame)
        with replace_when_complete(folder / 'label_2' / f'{name}.txt') as path:
            path.write_text(''.join(f'{row}\n' for row in rows))
        return dict(labels=dict(Counter(row.split()[0] for row in rows)))

    def finish(self, records: list[list[dict]]) -> None:
        """Write the lists of frames and the note for readers.

        Args:
            records (list[list[dict]]): Of each scene, of each frame, what ``write_frame`` returned.
        """
        image_sets = self._image_sets()
        for name, numbers in image_sets.items():
            with replace_when_complete(self.root / 'ImageSets' / f'{name}.txt') as path:
                path.write_text(''.join(f'{number:06d}\n' for number in numbers))
        totals = Counter()
        for record in (record for frames in records for record in frames):
            totals.update(record['labels'])
        with replace_when_complete(self.root / 'README.txt') as path:
            path.write_text(self._note(image_sets, totals))

    def _split(self, scene: int, index: int) -> str:
        """``train``, ``val`` or ``test``."""
        is_last = scene == self.scenes - 1
        if is_last and (self.scenes >= 4 or index == self.frames - 1):
            return 'test'
        if self.scenes == 1:
            return 'train' if index < round((self.frames - 1) * 2 / 3) else 'val'
        labelled = self.scenes - (self.scenes >= 4)
        return 'train' if scene < labelled - max(1, round(labelled / 3)) else 'val'

    def _number(self, scene: int, index: int) -> int:
        """The number in a frame's file names; training and testing count on their own."""
        return index if self._split(scene, index) == 'test' else scene * self.frames + index

    def _image_sets(self) -> dict[str, list[int]]:
        """Frame numbers of each list in ``ImageSets``."""
        numbers = dict(train=[], val=[], trainval=[], test=[])
        for scene in range(self.scenes):
            for index in range(self.frames):
                split = self._split(scene, index)
                for name in (split,) if split == 'test' else (split, 'trainval'):
                    numbers[name].append(self._number(scene, index))
        return numbers

    def _note(self, image_sets: dict[str, list[int]], totals: Counter) -> str:
        leak = 'One scene only: validation frames follow training frames of the same drive.\n' * (self.scenes == 1)
        return (
            'SIMULATED data in the layout of the KITTI object detection benchmark.\n'
            'No sensor recorded it, and results on it say nothing about real roads.\n\n'
            f'Made with seed {self.seed}: {self.scenes} scenes of {self.frames} frames.\n'
            f'Frames: {", ".join(f"{len(numbers)} {name}" for name, numbers in image_sets.items())}.\n{leak}'
            f'Labels: {", ".join(f"{totals[name]} {name}" for name in sorted(totals)) or "none"}.\n'
            'Only image_2 and velodyne are simulated; P0, P1, P3 and Tr_imu_to_velo are there for readers that want '
            'them.\n'
        )


@dataclass(frozen=True)
class _CameraBox:
    """A box as a label file holds it, two decimals: metres in the rectified camera's frame, upright there.

    Args:
        size_hwl_m (np.ndarray): (3,) height, width, length.
        bottom_rect_m (np.ndarray): (3,) middle of the lower face.
        rotation_y (float): Radians about the camera's y, 0 if the object looks along the camera's x.
    """

    size_hwl_m: np.ndarray
    bottom_rect_m: np.ndarray
    rotation_y: float

    def corners_rect_m(self) -> np.ndarray:
        """(8, 3)."""
        cos, sin = math.cos(self.rotation_y), math.sin(self.rotation_y)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        return (CORNERS_LHW * self.size_hwl_m[[2, 0, 1]]) @ turn.T + self.bottom_rect_m

    @property
    def alpha(self) -> float:
        """Heading as seen along the line of sight, radians in -pi..pi."""
        return _wrapped(self.rotation_y - math.atan2(self.bottom_rect_m[0], self.bottom_rect_m[2]))


def label_rows(frame: SimulatedFrame) -> list[str]:
    """Lines of a frame's label file: objects first, then the regions that nobody should be judged in.

    An object has a row if it would be in the picture with nothing in front of it, and a pixel or a LiDAR point shows
    it. Without any point, and so small or hidden that no one could draw a box, it becomes a ``DontCare`` region.

    Args:
        frame (SimulatedFrame): With the image ``image_2``.

    Returns:
        list[str]: Lines without line ends.
    """
    image = frame.images['image_2']
    rows, ignored = [], []
    for thing in frame.objects:
        if thing.surface not in TYPES:
            continue
        box = camera_box(thing, frame.scan)
        whole = projected_box(box.corners_rect_m())
        points = np.count_nonzero(frame.scan.instance == thing.instance)
        seen_px, unhidden_px = image.visible_px.get(thing.instance, (0, 0))
        if whole is None or not unhidden_px or not (seen_px or points):
            continue
        height_px, width_px = image.rgb.shape[:2]
        clipped = np.clip(whole, 0, [width_px - 1, height_px - 1, width_px - 1, height_px - 1])
        if (clipped[2:] <= clipped[:2]).any():
            continue
        share = seen_px / unhidden_px
        bbox = ' '.join(f'{value:.2f}' for value in clipped)
        if not points and (share < LEAST_VISIBLE_SHARE or clipped[3] - clipped[1] < LEAST_HEIGHT_PX):
            ignored.append(f'DontCare -1 -1 -10 {bbox} -1 -1 -1 -1000 -1000 -1000 -10')
            continue
        truncated = 1 - np.prod(clipped[2:] - clipped[:2]) / np.prod(whole[2:] - whole[:2])
        numbers = ' '.join(f'{value:.2f}' for value in (*box.size_hwl_m, *box.bottom_rect_m, box.rotation_y))
        rows.append(f'{_type(thing)} {truncated:.2f} {_occlusion(share)} {box.alpha:.2f} {bbox} {numbers}')
    return rows + ignored


def camera_box(thing: ObjectState, scan: LidarScan) -> _CameraBox:
    """Box of an object in the rectified camera's frame at the time of a scan, rounded as it is written.

    Args:
        thing (ObjectState): The object.
        scan (LidarScan): Says where the car is.
    """
    world2lidar = np.linalg.inv(scan.ego2world @ KITTI.lidar.lidar2ego)
    object2lidar = world2lidar @ thing.object2world
    length_m, width_m, height_m = thing.size_lwh_m
    # Readers turn boxes into the LiDAR's frame by the bottom's middle and take them for upright there. Going down
    # along the LiDAR's z keeps the box's middle in place for them even if the car pitches.
    bottom_lidar_m = object2lidar[:3, 3] - [0, 0, height_m / 2]
    bottom_rect_m = LIDAR2RECT[:3, :3] @ bottom_lidar_m + LIDAR2RECT[:3, 3]
    heading_rect = LIDAR2RECT[:3, :3] @ object2lidar[:3, 0]
    rotation_y = math.atan2(-heading_rect[2], heading_rect[0])
    return _CameraBox(
        _rounded(np.array([height_m, width_m, length_m])), _rounded(bottom_rect_m), float(_rounded(rotation_y))
    )


def projected_box(corners_rect_m: np.ndarray) -> np.ndarray | None:
    """Smallest upright rectangle around the part of a box that lies in front of camera 2.

    Args:
        corners_rect_m (np.ndarray): (8, 3) in the rectified camera's frame, numbered as ``boxes.CORNERS``.

    Returns:
        np.ndarray | None: (4,) left, top, right, bottom in pixels, beyond the picture where the box is; None if all
        of it is behind.
    """
    outline = before_the_camera(corners_rect_m)
    if not len(outline):
        return None
    projected = np.column_stack([outline, np.ones(len(outline))]) @ PROJECTIONS['P2'].T
    uv_px = projected[:, :2] / projected[:, 2:]
    return np.concatenate([uv_px.min(0), uv_px.max(0)])


def _type(thing: ObjectState) -> str:
    length_m, _, height_m = thing.size_lwh_m
    if thing.surface == SurfaceClass.CAR and (length_m > VAN_LENGTH_M or height_m > VAN_HEIGHT_M):
        return 'Van'
    return TYPES[SurfaceClass(thing.surface)]


def _occlusion(visible_share: float) -> int:
    """0 fully visible, 1 partly hidden, 2 largely hidden, 3 unknown: only the LiDAR sees it."""
    if not visible_share:
        return 3
    return 0 if visible_share > 0.8 else 1 if visible_share > 0.4 else 2


def _wrapped(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _rounded(value: np.ndarray | float) -> np.ndarray:
    return np.round(value, 2) + 0.0  # not -0.00
