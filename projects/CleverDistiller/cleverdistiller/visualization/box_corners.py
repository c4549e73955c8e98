"""The corners and edges of upright boxes."""

import numpy as np

# In the box's own frame; corners 0 to 3 are the front, in a ring, and 4 to 7 lie behind them.
_SIGNS = np.array([[x, y, z] for x in (1, -1) for y, z in ((1, -1), (-1, -1), (-1, 1), (1, 1))]) / 2
FRONT_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0))
OTHER_EDGES = ((4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
FLOOR = (0, 1, 5, 4)  # the ring of corners on the ground, front first


def box_corners(boxes: np.ndarray) -> np.ndarray:
    """Corners of upright boxes.

    Args:
        boxes (np.ndarray): (M, 7) middle x, y, z, length, width, height in metres, heading in radians.

    Returns:
        np.ndarray: (M, 8, 3) float64 metres, in the frame of the boxes; see ``FRONT_EDGES`` for their order.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 7)
    local = _SIGNS * boxes[:, None, 3:6]  # (M, 8, 3)
    cos, sin = np.cos(boxes[:, 6, None]), np.sin(boxes[:, 6, None])
    turned = np.stack([local[..., 0] * cos - local[..., 1] * sin, local[..., 0] * sin + local[..., 1] * cos], -1)
    return np.concatenate([turned, local[..., 2:]], -1) + boxes[:, None, :3]
