"""From LiDAR points to camera pixels, in float64 on whatever device the points are."""

import torch
from torch import Tensor


def lidar2cam_through_ego(
    lidar2ego: Tensor, ego2global_at_lidar: Tensor, ego2global_at_cam: Tensor, cam2ego: Tensor
) -> Tensor:
    """Chain lidar -> ego (sweep time) -> global -> ego (shutter time) -> camera.

    The car moves between the sweep and the shutter (0.3 m in 35 ms at 30 km/h), so both ego poses count.

    Args:
        lidar2ego, ego2global_at_lidar, ego2global_at_cam, cam2ego (Tensor): (..., 4, 4) rigid transforms.

    Returns:
        Tensor: (..., 4, 4) float64, LiDAR frame to camera frame.
    """
    lidar2global = ego2global_at_lidar.double() @ lidar2ego.double()
    cam2global = ego2global_at_cam.double() @ cam2ego.double()
    return torch.linalg.inv(cam2global) @ lidar2global


def project_points(points_lidar: Tensor, lidar2cam: Tensor, cam2img: Tensor) -> tuple[Tensor, Tensor]:
    """Project points with the pinhole model, uv = K p / z with z the camera depth.

    Args:
        points_lidar (Tensor): (N, 3) metres, LiDAR frame.
        lidar2cam (Tensor): (V, 4, 4) rigid transforms.
        cam2img (Tensor): (V, 3, 3) intrinsics for the native image.

    Returns:
        tuple[Tensor, Tensor]: ``uv_px`` (V, N, 2) float64, column and row in native pixels (meaningless
        where the depth is not positive), and ``depth_m`` (V, N) float64, distance along the optical axis.
    """
    u_times_depth, v_times_depth, depth_m = _image_planes(points_lidar, lidar2cam, cam2img)
    return torch.stack([u_times_depth / depth_m, v_times_depth / depth_m], -1), depth_m


def _image_planes(points_lidar: Tensor, lidar2cam: Tensor, cam2img: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column times depth, row times depth and depth of every point in every camera, (V, N) float64 each."""
    lidar2cam, cam2img = lidar2cam[:, :3].double(), cam2img.double()
    to_planes = torch.cat([cam2img[:, :2] @ lidar2cam, lidar2cam[:, 2:]], 1)  # (V, 3, 4)
    # Points last: what follows then runs over whole rows.
    return (to_planes[..., :3] @ points_lidar.double().T + to_planes[..., 3:]).unbind(1)


def pair_points_with_pixels(
    points_lidar: Tensor,
    lidar2cam: Tensor,
    cam2img: Tensor,
    native_size_hw: Tensor,
    input_size_hw: tuple[int, int],
    min_depth_m: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """List every (point, camera) whose pixel lies inside the native image.

    Kept: depth > ``min_depth_m``, 0 < u < W - 1 and 0 < v < H - 1, all strict, as ScaLR, SLidR and
    SuperFlow do; nobody tests occlusion. The pixel is then scaled, not rounded, to the network input.

    Args:
        points_lidar (Tensor): (N, 3) metres, raw (not augmented).
        lidar2cam (Tensor): (V, 4, 4).
        cam2img (Tensor): (V, 3, 3) for the native image.
        native_size_hw (Tensor): (V, 2) rows and columns of the native images.
        input_size_hw (tuple[int, int]): Rows and columns of the network input.
        min_depth_m (float): Nearest depth kept, at least 0.

    Returns:
        tuple[Tensor, Tensor, Tensor]: ``point_index`` (P,) int64, ``image_index`` (P,) int64 and
        ``uv_px`` (P, 2) float32 in the network input, ordered by image, then point.
    """
    planes = _image_planes(points_lidar, lidar2cam, cam2img)  # (V, N) each
    depth_m = planes[2]
    inside = depth_m > max(min_depth_m, 0.0)
    # Multiplied out: only the points that stay, one in nine on nuScenes, are divided by their depth.
    for plane, limit in zip(planes[:2], (native_size_hw[:, 1:] - 1, native_size_hw[:, :1] - 1)):
        inside &= (plane > 0) & (plane < limit * depth_m)
    image_index, point_index = torch.nonzero(inside, as_tuple=True)
    u, v, depth_m = (plane[image_index, point_index] for plane in planes)
    uv_px = torch.stack([u, v], 1) / depth_m[:, None]  # (P, 2)
    native_wh = native_size_hw.double().flip(-1)  # (V, 2)
    input_wh = native_wh.new_tensor(input_size_hw).flip(-1)
    return point_index, image_index, (uv_px * (input_wh / native_wh)[image_index]).float()
