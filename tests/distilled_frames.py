"""A made-up frame with features of a teacher and students, for drawing tests."""

import dataclasses

import numpy as np

from cleverdistiller.visualization import DistilledFrame, ProjectedStudent
from frame_views import CAM2IMG, camera, made_up_view

WIDTH_D, POINTS = 6, 40


def unit(vectors) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def made_up_features(**changes) -> DistilledFrame:
    """Forty points before the first of two cameras and one behind it, in no picture; the student equals its teacher."""
    rng = np.random.default_rng(0)
    seen = np.stack([rng.uniform(8, 25, POINTS), rng.uniform(-5, 5, POINTS), rng.uniform(-2, 2, POINTS)], 1)
    points = np.concatenate([seen, [[-10.0, 0, 0]]]).astype(np.float32)
    u = CAM2IMG[0, 2] - 100 * seen[:, 1] / seen[:, 0]  # x ahead, y left, z up
    v = CAM2IMG[1, 2] - 100 * seen[:, 2] / seen[:, 0]
    features = unit(rng.normal(size=(POINTS + 1, WIDTH_D)))
    view = made_up_view(
        points_lidar_m=points,
        labels=None,
        class_names=(),
        boxes_lidar_m=np.zeros((0, 7)),
        box_names=(),
        camera_rows=((camera(), camera(np.pi / 2, name='left')),),
    )
    frame = DistilledFrame(
        view=view,
        teacher='a made-up teacher',
        patch_features=unit(rng.normal(size=(2, 3, 4, WIDTH_D))),
        point_index=np.arange(POINTS),
        image_index=np.zeros(POINTS, int),
        uv_px=np.stack([u, v], 1),
        pixel_features=features[:POINTS],
        students=(ProjectedStudent('the same', features),),
    )
    return dataclasses.replace(frame, **changes)
