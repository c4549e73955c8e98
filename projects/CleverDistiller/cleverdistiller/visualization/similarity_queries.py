"""Which points a similarity sheet asks about: clicked ones, or unlike ones of the frame."""

import numpy as np

from cleverdistiller.errors import InputError
from cleverdistiller.visualization.distilled_frame import DistilledFrame

WITHIN = 0.02  # share of the picture's width: beams of a 32-beam LiDAR lie 30 px apart in nuScenes' pictures of 1600
BORDER = 0.05  # share of the picture's sides where no query is chosen: patches there see little around them
NEAR_M = 30.0  # farther things are a few patches large


def nearest_pair(frame: DistilledFrame, camera: int, uv_px: tuple[float, float]) -> int:
    """The pair whose pixel is the nearest.

    Args:
        frame (DistilledFrame): P pairs.
        camera (int): Row of the camera.
        uv_px (tuple[float, float]): Column and row in the camera's own picture.

    Returns:
        int: Row of the pair.

    Raises:
        InputError: If the pixel is outside of the picture, or no pair is near.
    """
    name, (rows, columns) = frame.cameras[camera].name, frame.cameras[camera].rgb.shape[:2]
    asked = f'--query {uv_px[0]:g} {uv_px[1]:g} in {name}'
    if not (0 <= uv_px[0] < columns and 0 <= uv_px[1] < rows):
        raise InputError(asked, f'a column of 0 to {columns - 1}, then a row of 0 to {rows - 1}', 'correct the pixel')
    mine = np.flatnonzero(frame.image_index == camera)
    if not len(mine):
        raise InputError(f'{name} with no LiDAR point in the picture', 'a paired point', 'choose another --camera')
    away_px = np.linalg.norm(frame.uv_px[mine] - uv_px, axis=1)
    nearest = mine[away_px.argmin()]
    if away_px.min() > WITHIN * columns:
        u, v = frame.uv_px[nearest]
        raise InputError(
            f'{asked}, where no LiDAR point is within {WITHIN * columns:.0f} px',
            'a pixel that the LiDAR hit too',
            f'the nearest point is at {u:.0f} {v:.0f}: sky and what is far away have none',
        )
    return int(nearest)


def unlike_pairs(frame: DistilledFrame, camera: int, count: int = 3) -> list[int]:
    """Pairs whose teacher features are as unlike as possible: farthest-point choice, the same at every call.

    The first is the least like the mean of all; each next one is the one whose most similar chosen one is the least
    similar.

    Args:
        frame (DistilledFrame): P pairs.
        camera (int): Row of the camera.
        count (int): How many.

    Returns:
        list[int]: Rows of pairs, near ones off the border where there are any.

    Raises:
        InputError: If the camera has too few pairs.
    """
    view = frame.cameras[camera]
    mine = np.flatnonzero(frame.image_index == camera)
    if len(mine) < count:
        raise InputError(f'{view.name} with {len(mine)} LiDAR points in the picture', f'{count}', 'choose another one')
    size_wh = np.array(view.rgb.shape[1::-1])
    inner = (np.abs(frame.uv_px[mine] / size_wh - 0.5) < 0.5 - BORDER).all(1)
    near = np.linalg.norm(frame.view.points_lidar_m[frame.point_index[mine]], axis=1) < NEAR_M
    mine = mine[inner & near] if (inner & near).sum() >= count else mine
    features = frame.pixel_features[mine]
    chosen = [int((features @ features.mean(0)).argmin())]
    while len(chosen) < count:
        chosen.append(int((features @ features[chosen].T).max(1).argmin()))
    return mine[chosen].tolist()
