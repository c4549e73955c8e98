"""Corners of boxes, and the part of a box that a camera can see."""

import numpy as np

# Of a box of size 1 about the origin, numbered by their signs along x, y, z as three binary digits.
CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])
NEAR_M = 0.1  # what is nearer to a camera's image plane is cut off


def before_the_camera(corners_cam_m: np.ndarray) -> np.ndarray:
    """Cut a box off where it comes too near to a camera or lies behind it.

    Args:
        corners_cam_m (np.ndarray): (8, 3) numbered as ``CORNERS``, in a camera's frame (z ahead).

    Returns:
        np.ndarray: (K, 3) corners of what is left: those in front, and where edges pass through the cut; K is 0 if
        all of the box is behind.
    """
    start, end = corners_cam_m[EDGES].transpose(1, 0, 2)
    passing = (start[:, 2] > NEAR_M) != (end[:, 2] > NEAR_M)
    start, end = start[passing], end[passing]
    share = (NEAR_M - start[:, 2:]) / (end[:, 2:] - start[:, 2:])
    return np.concatenate([corners_cam_m[corners_cam_m[:, 2] > NEAR_M], start + share * (end - start)])
