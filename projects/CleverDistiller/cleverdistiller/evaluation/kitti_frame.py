"""KITTI's ground truth and calibration from an info file, and detections in the benchmark's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cleverdistiller.datasets.info_file import read_infos
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections
from cleverdistiller.evaluation.kitti_ap import KittiDetections, KittiTruth

CAMERA = 'CAM2'  # labels are made for the left colour camera
MAKER = 'tools/prepare_kitti.py'
# Where mmdet3d's KittiMetric keeps detections: x, y, z of the middle of the bottom, least and most.
KEPT_RANGE_M = (0, -40, -3, 70.4, 40, 0)
# A corner exactly beside the camera, which has no projection, is moved so far ahead.
LEAST_DEPTH_M = 1e-9

_CORNERS = np.array([[x, y, z] for x in (0.5, -0.5) for y in (0, -1) for z in (0.5, -0.5)])  # y points down


@dataclass(frozen=True)
class KittiFrame:
    """What scoring and submitting need to know of a frame.

    Args:
        truth (KittiTruth): Its labels, without rows in a test set.
        lidar2cam (np.ndarray): (4, 4) LiDAR to rectified camera frame.
        cam2img (np.ndarray): (4, 4) or (3, 4) projection of the rectified camera frame into the image.
        image_size_wh (tuple[int, int]): Width and height in pixels.

    Raises:
        ValueError: If a number of the calibration is NaN or infinite.
    """

    truth: KittiTruth
    lidar2cam: np.ndarray
    cam2img: np.ndarray
    image_size_wh: tuple[int, int]

    def __post_init__(self) -> None:
        for name in ('lidar2cam', 'cam2img'):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f'{name} is NaN or infinite')

    def in_camera(self, found: FrameDetections, range_m: Sequence[float] | None = KEPT_RANGE_M) -> KittiDetections:
        """Detections as the benchmark wants them; those that lie outside the image or the range are left out.

        As mmdet3d's KittiMetric does it: the box in the image is that of the projected corners, cut at the image's
        border. Unlike there, alpha is KITTI's: seen from the camera, not from the LiDAR 0.3 m behind it.

        Args:
            found (FrameDetections): Of this frame.
            range_m (Sequence[float] | None): Least x, y, z and most x, y, z of the middle of the bottom, in the LiDAR
                frame; None for no limit.

        Returns:
            KittiDetections: In the same order.
        """
        x, y, z, length, width, height, yaw = found.boxes_lidar.T.astype(float)
        bottom_lidar = np.stack([x, y, z], 1)
        bottom_cam = bottom_lidar @ self.lidar2cam[:3, :3].T + self.lidar2cam[:3, 3]
        rotation_y = _to_half_turn(-yaw - np.pi / 2)
        box_cam = np.hstack([bottom_cam, np.stack([length, height, width, rotation_y], 1)])
        corners_px = _project(_corners(box_cam), self.cam2img)  # (M, 8, 2)
        least, most = corners_px.min(1), corners_px.max(1)
        kept = (least < self.image_size_wh).all(1) & (most > 0).all(1)
        if range_m is not None:
            kept &= ((bottom_lidar > range_m[:3]) & (bottom_lidar < range_m[3:])).all(1)
        return KittiDetections(
            name=found.names[kept],
            box_px=np.hstack([least.clip(min=0), np.minimum(most, self.image_size_wh)])[kept],
            box_cam=box_cam[kept],
            alpha=_to_half_turn(rotation_y - np.arctan2(box_cam[:, 0], box_cam[:, 2]))[kept],
            score=found.scores[kept],
        )


def read_kitti_frames(ann_file: str) -> dict[str, KittiFrame]:
    """All frames of an info file.

    Args:
        ann_file (str): ``kitti_infos_{train,val,test}.pkl`` in mmdet3d's v2 layout.

    Returns:
        dict[str, KittiFrame]: KITTI's own name of a frame, such as ``000123``, to the frame.

    Raises:
        InputError: If the file or a frame in it is not as it should be.
    """
    infos = read_infos(ann_file, MAKER)
    types = {label: name for name, label in infos['metainfo'].get('categories', {}).items()}
    types[-1] = 'DontCare'
    frames = {}
    for record in infos['data_list']:
        try:
            frame_id = f'{int(record["sample_idx"]):06d}'
            camera = record['images'][CAMERA]
            frames[frame_id] = KittiFrame(
                truth=_truth(record.get('instances', []), types),
                lidar2cam=np.array(camera['lidar2cam'], float),
                cam2img=np.array(camera['cam2img'], float),
                image_size_wh=(camera['width'], camera['height']),
            )
        except (KeyError, ValueError) as error:
            reason = f'without {error}' if isinstance(error, KeyError) else f'where {error}'
            raise InputError(
                f'{ann_file} with the frame {record.get("sample_idx")} {reason}',
                f"mmdet3d's v2 infos of KITTI: {CAMERA} with lidar2cam, cam2img, height and width, and instances with "
                'bbox, bbox_3d, bbox_label, alpha, occluded and truncated, all finite',
                f'rebuild it with {MAKER}',
            ) from error
    return frames


def _truth(instances: Sequence[Mapping], types: Mapping[int, str]) -> KittiTruth:
    def column(key: str, *width: int) -> np.ndarray:
        return np.array([instance[key] for instance in instances], float).reshape(len(instances), *width)

    return KittiTruth(
        name=np.array([types[instance['bbox_label']] for instance in instances], str),
        box_px=column('bbox', 4),
        box_cam=column('bbox_3d', 7),
        alpha=column('alpha'),
        occluded=column('occluded'),
        truncated=column('truncated'),
    )


def _corners(box_cam: np.ndarray) -> np.ndarray:
    """(M, 7) to (M, 8, 3); a rotation about y turns x away from z."""
    along, down, across = np.moveaxis(_CORNERS * box_cam[:, None, 3:6], 2, 0)
    cos, sin = np.cos(box_cam[:, 6:]), np.sin(box_cam[:, 6:])
    return np.stack([cos * along + sin * across, down, cos * across - sin * along], 2) + box_cam[:, None, :3]


def _project(points_cam: np.ndarray, cam2img: np.ndarray) -> np.ndarray:
    """(..., 3) metres to (..., 2) pixels."""
    uvw = points_cam @ cam2img[:3, :3].T + cam2img[:3, 3]
    uvw = np.where(uvw[..., 2:] == 0, uvw + LEAST_DEPTH_M * cam2img[:3, 2], uvw)
    return uvw[..., :2] / uvw[..., 2:]


def _to_half_turn(angle: np.ndarray) -> np.ndarray:
    """The same angle from -pi to pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
