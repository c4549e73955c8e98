"""SemanticKITTI: the LiDAR's drives, a class and an instance for every point."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.simulation.frame import SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import KITTI, Rig
from cleverdistiller.simulation.surfaces import SurfaceClass
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.kitti_files import (
    LIDAR2RECT,
    PROJECTIONS,
    matrix_line,
    write_calibration,
    write_image,
    write_points,
)
from cleverdistiller.simulation.writers.writer import Writer

# Class to SemanticKITTI's id of what stands and of what moves.
IDS = {
    SurfaceClass.SKY: (0, 0),
    SurfaceClass.ROAD: (40, 40),
    SurfaceClass.LANE_MARKING: (60, 60),
    SurfaceClass.PARKING: (44, 44),
    SurfaceClass.CURB: (48, 48),
    SurfaceClass.SIDEWALK: (48, 48),
    SurfaceClass.OTHER_FLAT: (49, 49),
    SurfaceClass.TERRAIN: (72, 72),
    SurfaceClass.BUILDING: (50, 50),
    SurfaceClass.WALL: (52, 52),  # other structure
    SurfaceClass.FENCE: (51, 51),
    SurfaceClass.VEGETATION: (70, 70),
    SurfaceClass.TRUNK: (71, 71),
    SurfaceClass.POLE: (80, 80),
    SurfaceClass.SIGN: (81, 81),
    SurfaceClass.TRAFFIC_LIGHT: (81, 81),  # SemanticKITTI has none of its own: the plate on a pole, not the pole
    SurfaceClass.CAR: (10, 252),
    SurfaceClass.TRUCK: (18, 258),
    SurfaceClass.BUS: (13, 257),
    SurfaceClass.TRAILER: (20, 259),
    SurfaceClass.CONSTRUCTION_VEHICLE: (20, 259),
    SurfaceClass.MOTORCYCLE: (15, 15),
    SurfaceClass.MOTORCYCLIST: (32, 255),
    SurfaceClass.BICYCLE: (11, 11),
    SurfaceClass.BICYCLIST: (31, 253),
    SurfaceClass.PEDESTRIAN: (30, 254),
    SurfaceClass.TRAFFIC_CONE: (99, 99),
    SurfaceClass.BARRIER: (99, 99),
}
OTHER_OBJECT = 99  # has no instances in SemanticKITTI
MOVING_MPS = 0.5
TRAIN_SEQUENCES, VAL_SEQUENCE = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10), 8


class SemanticKittiWriter(Writer):
    """Writes ``sequences/NN`` as SemanticKITTI publishes them, with the left colour camera's pictures beside.

    Each scene is a sequence, so that the official split applies: the last of several scenes is 08, the validation
    sequence. ``semantickitti_infos_{train,val}.pkl`` are for mmdet3d, whose own converter takes the real sequences'
    lengths for granted.

    Args:
        root (Path): A folder; made with the first file.
        scenes (int): At most 11.
        frames (int): Keyframes in each.
        seed (int): For the note only.

    Raises:
        InputError: If there are more scenes than labelled sequences.
    """

    format: ClassVar[str] = 'semantickitti'
    rig: Rig = KITTI

    def __init__(self, root: Path, scenes: int, frames: int, seed: int) -> None:
        most = len(TRAIN_SEQUENCES) + 1
        if scenes > most:
            raise InputError(
                f'{scenes} scenes for SemanticKITTI',
                f'at most {most}, one for each sequence that has labels',
                f'take {most} scenes with more frames in each',
            )
        super().__init__(root, scenes, frames, seed)
        self.sequences = (*TRAIN_SEQUENCES[: scenes - 1], VAL_SEQUENCE) if scenes > 1 else TRAIN_SEQUENCES[:1]

    def write_frame(self, frame: SimulatedFrame, scene: Scene) -> dict:
        """Write one frame's points, labels and picture.

        Args:
            frame (SimulatedFrame): With the image ``image_2``.
            scene (Scene): Not used; other formats need it.

        Returns:
            dict: ``time_s`` and ``lidar2world``, (4, 4).
        """
        folder, name = self._folder(frame.scene), f'{frame.index:06d}'
        write_points(folder / 'velodyne' / f'{name}.bin', frame.scan)
        write_image(folder / 'image_2' / f'{name}.png', frame.images['image_2'].rgb)
        with replace_when_complete(folder / 'labels' / f'{name}.label') as path:
            path.write_bytes(point_labels(frame).tobytes())
        return dict(time_s=frame.time_s, lidar2world=frame.scan.ego2world @ self.rig.lidar.lidar2ego)

    def finish(self, records: list[list[dict]]) -> None:
        """Write each sequence's calibration, poses and times, the lists for mmdet3d and the note for readers.

        Args:
            records (list[list[dict]]): Of each scene, of each frame, what ``write_frame`` returned.
        """
        for scene, frames in enumerate(records):
            folder = self._folder(scene)
            write_calibration(folder / 'calib.txt', PROJECTIONS | dict(Tr=LIDAR2RECT[:3]))
            poses = [matrix_line(pose[:3], 6) for pose in camera_poses([frame['lidar2world'] for frame in frames])]
            times = [f'{frame["time_s"] - frames[0]["time_s"]:.6e}' for frame in frames]
            for name, lines in (('poses.txt', poses), ('times.txt', times)):
                with replace_when_complete(folder / name) as path:
                    path.write_text(''.join(f'{line}\n' for line in lines))
        validation = [sequence for sequence in self.sequences if sequence == VAL_SEQUENCE]
        training = [sequence for sequence in self.sequences if sequence != VAL_SEQUENCE]
        for split, sequences in (('train', training), ('val', validation)):
            if sequences:
                with replace_when_complete(self.root / f'semantickitti_infos_{split}.pkl') as path:
                    path.write_bytes(pickle.dumps(self._infos(sequences)))
        with replace_when_complete(self.root / 'README.txt') as path:
            path.write_text(self._note())

    def _folder(self, scene: int) -> Path:
        return self.root / 'sequences' / f'{self.sequences[scene]:02d}'

    def _infos(self, sequences: list[int]) -> dict:
        """What mmdet3d's ``SemanticKittiDataset`` reads; paths are relative to the root."""
        names = [(sequence, f'{index:06d}') for sequence in sequences for index in range(self.frames)]
        return dict(
            metainfo=dict(DATASET='SemanticKITTI'),
            data_list=[
                dict(
                    lidar_points=dict(lidar_path=f'sequences/{sequence:02d}/velodyne/{name}.bin', num_pts_feats=4),
                    pts_semantic_mask_path=f'sequences/{sequence:02d}/labels/{name}.label',
                    sample_id=f'{sequence:02d}_{name}',
                )
                for sequence, name in names
            ],
        )

    def _note(self) -> str:
        sequences = ', '.join(f'{sequence:02d}' for sequence in self.sequences)
        return (
            'SIMULATED data in the layout of SemanticKITTI.\n'
            'No sensor recorded it, and results on it say nothing about real roads.\n\n'
            f'Made with seed {self.seed}: {self.scenes} scenes of {self.frames} frames, as sequences {sequences} '
            f'(08 is for validation).\n'
            'Only image_2 and velodyne are simulated; P0, P1 and P3 are there for readers that want them.\n'
        )


def point_labels(frame: SimulatedFrame) -> np.ndarray:
    """Class in the lower 16 bits, instance in the upper, of every point of a frame's scan.

    Args:
        frame (SimulatedFrame): N points; each instance among them is one of its objects.

    Returns:
        np.ndarray: (N,) uint32, little-endian; instance 0 for what is no countable object.
    """
    scan = frame.scan
    speeds_mps = {thing.instance: np.linalg.norm(thing.velocity_world_mps) for thing in frame.objects}
    instances, inverse = np.unique(scan.instance, return_inverse=True)
    moves = np.array([instance != 0 and speeds_mps[instance] > MOVING_MPS for instance in instances], bool)[inverse]
    table = np.array([IDS[surface] for surface in SurfaceClass], np.uint32)
    semantic = table[scan.surface, moves.astype(np.intp)]
    instance = np.where(semantic == OTHER_OBJECT, 0, scan.instance).astype(np.uint32)
    return ((instance << 16) | semantic).astype('<u4')


def camera_poses(lidar2world: list[np.ndarray]) -> list[np.ndarray]:
    """Poses of camera 0 as KITTI's odometry files hold them.

    Args:
        lidar2world (list[np.ndarray]): (4, 4) of each frame.

    Returns:
        list[np.ndarray]: (4, 4) of each frame: its camera's coordinates to those of the first frame's camera.
    """
    rect2lidar = np.linalg.inv(LIDAR2RECT)
    world2first = LIDAR2RECT @ np.linalg.inv(lidar2world[0])
    # Rounding drops the last bits of zeros, which differ between machines.
    return [np.round(world2first @ pose @ rect2lidar, 9) + 0.0 for pose in lidar2world]
