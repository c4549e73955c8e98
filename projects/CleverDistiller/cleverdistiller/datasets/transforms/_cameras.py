"""What loading images and loading their features share."""

from collections.abc import Sequence

import numpy as np


def draw_cameras(cameras: Sequence[str], num_cams: int | None, hflip_prob: float) -> tuple[list[str], np.ndarray]:
    """Choose cameras and mirrored images, with the same use of numpy's generator whatever is loaded then.

    Args:
        cameras (Sequence[str]): All names.
        num_cams (int | None): Draw so many; None takes all.
        hflip_prob (float): Probability of mirroring each image.

    Returns:
        tuple[list[str], np.ndarray]: V names in their order, and (V,) bool.
    """
    chosen = list(cameras)
    if num_cams is not None and num_cams < len(cameras):
        rows = np.sort(np.random.permutation(len(cameras))[:num_cams])
        chosen = [cameras[row] for row in rows]
    return chosen, np.random.rand(len(chosen)) < hflip_prob


def camera_keys(
    records: dict, cameras: list[str], flips: np.ndarray, native_size_hw: np.ndarray, input_size_hw: tuple[int, int]
) -> dict:
    """The keys that tell where images look, as :class:`LoadCameraImages` documents them.

    Args:
        records (dict): camera -> ``cam2img``, ``lidar2cam``.
        cameras (list[str]): V of them.
        flips (np.ndarray): (V,) bool.
        native_size_hw (np.ndarray): (V, 2) int64.
        input_size_hw (tuple[int, int]): Rows and columns of the teacher's input.

    Returns:
        dict: For the results of a transform.
    """
    return dict(
        cam2img=np.stack([records[camera]['cam2img'] for camera in cameras]),
        lidar2cam=np.stack([records[camera]['lidar2cam'] for camera in cameras]),
        native_size_hw=native_size_hw,
        input_size_hw=input_size_hw,
        img_hflip=flips,
        camera_names=cameras,
    )
