"""Simulated frames as records of the Waymo Open Dataset (perception, version 1.4), one file for each scene."""

from __future__ import annotations

import io
import shutil
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from waymo_open_dataset.dataset_pb2 import (
    CameraCalibration,
    CameraImage,
    CameraName,
    Context,
    Frame,
    Laser,
    LaserCalibration,
    LaserName,
    MatrixFloat,
    MatrixInt32,
    MatrixShape,
    RangeImage,
    Transform,
    Velocity,
)

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.simulation.frame import SimulatedFrame
from cleverdistiller.simulation.sensors.rigs import WAYMO, CameraModel
from cleverdistiller.simulation.world.scene import Scene
from cleverdistiller.simulation.writers.waymo_labels import camera_labels, laser_labels, projected_labels
from cleverdistiller.simulation.writers.waymo_lidar import (
    EDGE_PX,
    camera_projections,
    pose_image,
    range_images,
    segmentation_images,
    to_images,
)
from cleverdistiller.simulation.writers.writer import Writer, validation_scenes

START_S = 946_684_800  # of scene 0, Unix time: long before any real record
SCENES_APART_S = 1_000
SEGMENTATION_EVERY = 5  # frames: two a second, as in the real records
JPEG_QUALITY = 90
ZLIB_LEVEL = 6
VELOCITY_STEP_S = 0.005
PARTS = '.parts'

# Waymo's cameras look along x, with y to the left and z up.
WAYMO_CAM_TO_CAM = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


class WaymoWriter(Writer):
    """Writes ``training/`` and ``validation/segment-*_with_camera_labels.tfrecord`` with one ``Frame`` a keyframe.

    A frame has the TOP LiDAR (both returns, projections, poses; segmentation on every fifth frame), five images with a
    global shutter, and boxes in 3D, projected and in the images. There are no other LiDARs, no map, no no-label zones
    and no sign boxes; the elongation is 0. The last fifth of the scenes is validation. Scenes are named like Waymo's,
    but with a leading zero, and their location is ``location_simulated``.

    Frames wait in ``.parts/`` until ``finish`` joins them.

    Args:
        root (Path): A folder; made with the first file.
        scenes (int): Number of scenes.
        frames (int): Frames in each.
        seed (int): Of the whole set, for the names.
    """

    format = 'waymo'
    rig = WAYMO

    def write_frame(self, frame: SimulatedFrame, scene: Scene) -> dict:
        """Write a frame's part of its scene's file.

        Args:
            frame (SimulatedFrame): The frame, of a car with this writer's ``rig``.
            scene (Scene): Its scene, for the car's way during the turn of the LiDAR.

        Returns:
            dict: Nothing; the part says it all.

        Raises:
            InputError: If the frame's cameras are not the rig's.
        """
        wanted = [camera.name for camera in self.rig.cameras]
        if list(frame.images) != wanted:
            raise InputError(f'a frame with the cameras {list(frame.images)}', f'{wanted}', 'simulate with rigs.WAYMO')
        name_of = lambda instance: self.object_name(frame.scene, instance)
        labels = laser_labels(frame, self.rig, name_of)
        record = Frame(
            context=self._context(frame.scene),
            timestamp_micros=round(_unix_s(frame.scene, frame.time_s + self._turn_start_s()) * 1e6),
            pose=_transform(frame.scan.ego2world),
            images=[self._image(frame, scene, camera) for camera in self.rig.cameras],
            lasers=[self._laser(frame, scene)],
            laser_labels=labels,
            projected_lidar_labels=projected_labels(frame, self.rig, name_of, labels),
            camera_labels=camera_labels(frame, self.rig, name_of, labels),
        )
        with replace_when_complete(self._part(frame.scene, frame.index)) as path:
            path.write_bytes(record.SerializeToString(deterministic=True))
        return {}

    def finish(self, records: list[list[dict]]) -> None:
        """Join each scene's parts into its file and remove them; scenes that an earlier, killed call joined stay.

        Args:
            records (list[list[dict]]): Of each scene, of each of its frames, what ``write_frame`` returned.

        Raises:
            InputError: If parts are missing.
        """
        for scene in range(self.scenes):
            parts = [self._part(scene, index) for index in range(self.frames)]
            missing = [part for part in parts if not part.is_file()]
            if not missing:
                _join(parts, self.record_file(scene))
            elif not self.record_file(scene).is_file():
                raise InputError(
                    f'{missing[0]}, which is not there (nor are {len(missing) - 1} others of scene {scene})',
                    f'{self.frames} written frames',
                    'write the missing frames, then finish again',
                )
            # Only now: a kill in between leaves either every part or the whole file.
            shutil.rmtree(self._part(scene, 0).parent, ignore_errors=True)
        shutil.rmtree(self.root / PARTS, ignore_errors=True)

    def context_name(self, scene: int) -> str:
        """As Waymo's: a long number, then start and end in seconds and milliseconds."""
        end_s, end_ms = divmod(round(self.frames * self.rig.frame_s * 1000), 1000)
        return f'{self.seed:010d}{scene:09d}_0_000_{end_s}_{end_ms:03d}'

    def object_name(self, scene: int, instance: int) -> str:
        """The same in all frames of a scene, and no other object's."""
        return f'simulated-{self.seed}-{scene}-{instance}'

    def record_file(self, scene: int) -> Path:
        """Where the scene's frames end up."""
        split = 'validation' if scene >= self.scenes - validation_scenes(self.scenes) else 'training'
        return self.root / split / f'segment-{self.context_name(scene)}_with_camera_labels.tfrecord'

    def _part(self, scene: int, index: int) -> Path:
        return self.root / PARTS / self.context_name(scene) / f'{index:06d}.frame'

    def _turn_start_s(self) -> float:
        return -self.rig.lidar.reference * self.rig.lidar.period_s

    def _context(self, scene: int) -> Context:
        lidar = self.rig.lidar
        return Context(
            name=self.context_name(scene),
            camera_calibrations=[_calibration(camera) for camera in self.rig.cameras],
            laser_calibrations=[
                LaserCalibration(
                    name=LaserName.Name.Value(lidar.name),
                    beam_inclinations=lidar.elevations,
                    beam_inclination_min=lidar.elevations[0],
                    beam_inclination_max=lidar.elevations[-1],
                    extrinsic=_transform(lidar.lidar2ego),
                )
            ],
            stats=Context.Stats(time_of_day='Day', location='location_simulated', weather='sunny'),
        )

    def _image(self, frame: SimulatedFrame, scene: Scene, camera: CameraModel) -> CameraImage:
        image = frame.images[camera.name]
        jpeg = io.BytesIO()
        Image.fromarray(image.rgb).save(jpeg, 'JPEG', quality=JPEG_QUALITY)
        shutter_s = _unix_s(frame.scene, image.time_s)
        return CameraImage(
            name=CameraName.Name.Value(camera.name),
            image=jpeg.getvalue(),
            pose=_transform(image.ego2world),
            velocity=_velocity(scene, image.time_s),
            pose_timestamp=shutter_s,
            shutter=0.0,  # the whole image at once, and at no time at all
            camera_trigger_time=shutter_s,
            camera_readout_done_time=shutter_s,
        )

    def _laser(self, frame: SimulatedFrame, scene: Scene) -> Laser:
        scan, lidar = frame.scan, self.rig.lidar
        lidar2world = scan.ego2world @ lidar.lidar2ego
        points_world_m = scan.points_lidar_m @ lidar2world[:3, :3].T + lidar2world[:3, 3]
        projections = to_images(scan, lidar, camera_projections(points_world_m, self.rig.cameras, frame.images), 0)
        ranges, segmentation = range_images(scan, lidar), segmentation_images(scan, lidar)
        returns = [
            RangeImage(
                range_image_compressed=_packed(MatrixFloat, ranges[echo]),
                camera_projection_compressed=_packed(MatrixInt32, projections[echo]),
            )
            for echo in range(lidar.returns)
        ]
        if frame.index % SEGMENTATION_EVERY == 0:
            for echo, image in enumerate(returns):
                image.segmentation_label_compressed = _packed(MatrixInt32, segmentation[echo])
        ego2world = scene.ego2world(frame.time_s + lidar.delays_s())  # (columns, 4, 4)
        returns[0].range_image_pose_compressed = _packed(
            MatrixFloat, pose_image(ego2world, len(lidar.elevations))
        )  # one for both returns
        return Laser(name=LaserName.Name.Value(lidar.name), ri_return1=returns[0], ri_return2=returns[1])


def _unix_s(scene: int, time_s: float) -> float:
    return START_S + scene * SCENES_APART_S + time_s


def _transform(matrix: np.ndarray) -> Transform:
    return Transform(transform=np.asarray(matrix, float).ravel().tolist())


def _calibration(camera: CameraModel) -> CameraCalibration:
    k, (height, width) = camera.cam2img, camera.size_hw
    no_distortion = [0.0] * 5
    return CameraCalibration(
        name=CameraName.Name.Value(camera.name),
        intrinsic=[k[0, 0], k[1, 1], k[0, 2] + EDGE_PX, k[1, 2] + EDGE_PX, *no_distortion],
        extrinsic=_transform(camera.cam2ego @ WAYMO_CAM_TO_CAM),
        width=width,
        height=height,
        rolling_shutter_direction=CameraCalibration.GLOBAL_SHUTTER,
    )


def _velocity(scene: Scene, time_s: float) -> Velocity:
    """The car's speed and turning speed along the world's axes, from its poses just before and after."""
    before, after = scene.ego2world(np.array([time_s - VELOCITY_STEP_S, time_s + VELOCITY_STEP_S]))
    speed = (after[:3, 3] - before[:3, 3]) / (2 * VELOCITY_STEP_S)
    turn = after[:3, :3] @ before[:3, :3].T  # small, so that its odd part is the vector of rotation
    spin = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    spin /= 4 * VELOCITY_STEP_S
    return Velocity(v_x=speed[0], v_y=speed[1], v_z=speed[2], w_x=spin[0], w_y=spin[1], w_z=spin[2])


def _packed(matrix: type[MatrixFloat] | type[MatrixInt32], values: np.ndarray) -> bytes:
    message = matrix(data=values.ravel().tolist(), shape=MatrixShape(dims=values.shape))
    return zlib.compress(message.SerializeToString(deterministic=True), ZLIB_LEVEL)


def _join(parts: list[Path], file: Path) -> None:
    # Here, because it takes ten seconds and the processes that write frames do not need it.
    import tensorflow as tf

    with replace_when_complete(file) as path, tf.io.TFRecordWriter(str(path)) as record:
        for part in parts:
            record.write(part.read_bytes())
