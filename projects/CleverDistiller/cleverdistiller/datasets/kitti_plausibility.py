"""Do a KITTI root's scans, calibrations and labels belong together? Looked at before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cleverdistiller.datasets.file_checks import points_doubts, points_fault
from cleverdistiller.datasets.kitti_files import files_of
from cleverdistiller.datasets.kitti_infos import (
    boxes_lidar,
    frame_info,
    points_in_boxes,
    points_in_view,
    read_scan,
    without_nan,
)
from cleverdistiller.errors import InputError

INTENSITY_SCALE = 1.0  # KITTI stores 0..1
FEWEST_IN_VIEW = 0.01  # of a scan's points; a real one has 0.15
HALF = 0.5


@dataclass(frozen=True)
class FrameFacts:
    """What was seen of a frame.

    Args:
        frame (str): Its six digits.
        dropped_rows (int): NaN rows that were left out.
        share_in_view (float): Share of its points that camera 2 sees.
        points_in_box (np.ndarray): (M,) points in view in each object's box.
        in_image (np.ndarray): (M,) whether the middle of each box is in the image.
        in_box_px (np.ndarray): (M,) whether that middle is in the object's own box in the image.
        has_box_px (np.ndarray): (M,) whether that box has an area.
        doubts (dict[str, str]): See :func:`points_doubts`.
    """

    frame: str
    dropped_rows: int
    share_in_view: float
    points_in_box: np.ndarray
    in_image: np.ndarray
    in_box_px: np.ndarray
    has_box_px: np.ndarray
    doubts: dict[str, str]


def look_at_frame(root: Path, split: str, frame: str, drop_nan: bool = False) -> FrameFacts | tuple[str, str]:
    """Look at the values of one frame, whose files are whole.

    Args:
        root (Path): Folder of the benchmark.
        split (str): ``train``, ``val`` or ``test``.
        frame (str): Six digits.
        drop_nan (bool): Leave NaN rows out.

    Returns:
        FrameFacts | tuple[str, str]: A file below the root and what of it cannot be, or the facts.
    """
    files = files_of(split, frame)
    stored = read_scan(root, split, frame)
    points = without_nan(stored) if drop_nan else stored
    if not len(points):
        return files['velodyne'], f'all of its {len(stored)} points are NaN or infinite'
    if fault := points_fault(points):
        return files['velodyne'], fault
    info = frame_info(root, split, frame)
    seen = points_in_view(info, points)
    if not len(seen):
        return files['calib'], (
            "no point of its scan is seen by camera 2: Tr_velo_to_cam, or R0_rect or P2, is of other axes than KITTI's"
        )
    boxes = boxes_lidar(info) if split != 'test' else np.zeros((0, 7), np.float32)
    box_px = info['annos']['bbox'][: len(boxes)] if len(boxes) else np.zeros((0, 4))
    middle_px, ahead = _middles_px(info, len(boxes))
    height, width = info['image']['image_shape']
    return FrameFacts(
        frame=frame,
        dropped_rows=len(stored) - len(points),
        share_in_view=len(seen) / len(points),
        points_in_box=points_in_boxes(seen, boxes).sum(0),
        in_image=ahead & (middle_px >= 0).all(1) & (middle_px < (width, height)).all(1),
        in_box_px=ahead & (middle_px >= box_px[:, :2]).all(1) & (middle_px <= box_px[:, 2:]).all(1),
        has_box_px=(box_px[:, 2:] > box_px[:, :2]).all(1),
        doubts=points_doubts(points, INTENSITY_SCALE),
    )


def _middles_px(info: dict, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2) middles of the objects' boxes in the image and (M,) whether they are ahead of the camera."""
    if not count:
        return np.zeros((0, 2)), np.zeros(0, bool)
    annos = info['annos']
    middles = annos['location'][:count] - [0, 0.5, 0] * annos['dimensions'][:count]  # y looks down
    projection = info['calib']['P2']
    u, v, depth = projection[:3, :3] @ middles.T + projection[:3, 3:]
    ahead = depth > 0
    return np.stack([u, v], 1) / np.where(ahead, depth, 1)[:, None], ahead


def report(facts: Sequence[FrameFacts]) -> tuple[list[str], list[str]]:
    """Sum up what was seen.

    Args:
        facts (Sequence[FrameFacts]): At least one frame.

    Returns:
        tuple[list[str], list[str]]: Lines for people, and what is unlikely.

    Raises:
        InputError: If no box holds a point, or none is in the image: labels and calibrations are of two worlds.
    """
    shares = np.array([one.share_in_view for one in facts])
    points, in_image, in_box_px, has_box_px = (
        np.concatenate([getattr(one, name) for one in facts])
        for name in ('points_in_box', 'in_image', 'in_box_px', 'has_box_px')
    )
    least = facts[int(shares.argmin())]
    lines = [
        f'{len(facts):,} frames: camera 2 sees {shares.mean():.1%} of the points, '
        f'{least.share_in_view:.1%} in frame {least.frame}, the least'
    ]
    doubts = _doubts_of_scans(facts, shares)
    if len(points):
        lines.append(
            f'{len(points):,} objects: {np.median(points):g} points a box (median), {(points == 0).mean():.1%} without '
            'any; '
            f'the middles of {in_image.mean():.1%} are in the image, '
            f'of {_share(in_box_px[has_box_px])} in their own box there'
        )
        _refuse_other_world(points, in_image)
        doubts += _doubts_of_boxes(points, in_image, in_box_px, has_box_px)
    return lines, doubts


def _share(values: np.ndarray) -> str:
    return f'{values.mean():.1%}' if len(values) else 'none'


def _refuse_other_world(points: np.ndarray, in_image: np.ndarray) -> None:
    what = 'with its middle in the image' if not in_image.any() else 'with a point in it'
    if not (in_image.any() and points.any()):
        raise InputError(
            f'labels of {len(points):,} objects, not one of which has a box {what}',
            "location, dimensions and rotation_y in camera 0's rectified frame (x right, y down, z ahead), and "
            'calibrations that take the scans there',
            'correct label_2 or calib (KITTI writes height, width, length; the location is the middle of the bottom); '
            'nothing was written',
        )


def _doubts_of_scans(facts: Sequence[FrameFacts], shares: np.ndarray) -> list[str]:
    doubts = []
    if dropped := [one for one in facts if one.dropped_rows]:
        rows = sum(one.dropped_rows for one in dropped)
        doubts.append(
            f'{rows:,} rows that are NaN or infinite were left out of the scans of {len(dropped):,} frames, '
            f'such as {dropped[0].frame}'
        )
    for kind in ('distance', 'bright', 'dark', 'negative'):
        if found := [one for one in facts if kind in one.doubts]:
            doubts.append(f'scans of {len(found):,} frames, such as {found[0].frame}: {found[0].doubts[kind]}')
    if (shares < FEWEST_IN_VIEW).any():
        first = facts[int(np.argmax(shares < FEWEST_IN_VIEW))].frame
        doubts.append(
            f'{(shares < FEWEST_IN_VIEW).sum():,} frames, such as {first}, where camera 2 sees less than '
            f'{FEWEST_IN_VIEW:.0%} of the points: are the calibrations of these scans?'
        )
    return doubts


def _doubts_of_boxes(
    points: np.ndarray, in_image: np.ndarray, in_box_px: np.ndarray, has_box_px: np.ndarray
) -> list[str]:
    doubts = []
    if (points == 0).mean() > HALF:
        doubts.append(
            f'{(points == 0).mean():.0%} of the boxes hold no point: are labels and calibrations of these scans?'
        )
    if in_image.mean() < HALF:
        doubts.append(f'only {in_image.mean():.0%} of the boxes have their middle in the image')
    if not has_box_px.any():
        doubts.append(
            'all 2D boxes are empty, so difficulty comes from occlusion (and truncation) alone and image AP cannot be '
            'scored'
        )
    elif not has_box_px.all():
        doubts.append(
            f'{(~has_box_px).sum():,} of {len(has_box_px):,} objects have an empty 2D box: they are never pasted or '
            'scored'
        )
    if has_box_px.any() and in_box_px[has_box_px].mean() < HALF:
        doubts.append(
            f'only {in_box_px[has_box_px].mean():.0%} of the 3D boxes have their middle in their own 2D box: is P2 '
            'that of the labels?'
        )
    return doubts


def has_boxes_px(facts: Sequence[FrameFacts]) -> bool:
    """Whether any object has a box in the image; True where there are no objects."""
    return any(one.has_box_px.any() for one in facts) or not any(len(one.has_box_px) for one in facts)
