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
    rotation, translation = lidar2cam[:, :3, :3].double(), lidar2cam[:, :3, 3].double()
    points_cam = points_lidar.double() @ rotation.transpose(1, 2) + translation[:, None]  # (V, N, 3)
    depth_m = points_cam[..., 2]
    homogeneous = points_cam @ cam2img.double().transpose(1, 2)  # (V, N, 3)
    return homogeneous[..., :2] / depth_m[..., None], depth_m


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
        min_depth_m (float): Nearest depth kept.

    Returns:
        tuple[Tensor, Tensor, Tensor]: ``point_index`` (P,) int64, ``image_index`` (P,) int64 and
        ``uv_px`` (P, 2) float32 in the network input, ordered by image, then point.
    """
    uv_px, depth_m = project_points(points_lidar, lidar2cam, cam2img)
    native_wh = native_size_hw.double().flip(-1)  # (V, 2)
    inside = ((uv_px > 0) & (uv_px < native_wh[:, None] - 1)).all(-1)
    image_index, point_index = torch.nonzero(inside & (depth_m > min_depth_m), as_tuple=True)
    input_wh = native_wh.new_tensor(input_size_hw).flip(-1)
    uv_input_px = uv_px[image_index, point_index] * (input_wh / native_wh)[image_index]
    return point_index, image_index, uv_input_px.float()
