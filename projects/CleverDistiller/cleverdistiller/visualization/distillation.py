"""Running a distiller's teacher and students over one frame, for pictures of their features."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from torch import Tensor

from cleverdistiller.datasets.transforms import PackDistillationInputs
from cleverdistiller.errors import InputError
from cleverdistiller.fileio import load_strictly, read_metadata, read_state_dict
from cleverdistiller.models.distillers import CleverDistiller
from cleverdistiller.ops.pixel_sampling import sample_pixel_features
from cleverdistiller.ops.voxelize import devoxelize
from cleverdistiller.visualization.distilled_frame import DistilledFrame, ProjectedStudent
from cleverdistiller.visualization.frame_view import FrameView


def load_distiller(cfg: Config, checkpoint: str) -> CleverDistiller:
    """Build the model of a pretraining config with the weights of its training.

    A teacher with random weights is drawn as the training drew it, from the seed that the checkpoint names: it is in
    no checkpoint.

    Args:
        cfg (Config): Of configs/pretrain or configs/demo.
        checkpoint (str): ``epoch_N.pth`` of its training; every tensor must fit.

    Returns:
        CleverDistiller: In eval mode, on the accelerator if there is one.

    Raises:
        InputError: If the config is none for pretraining, or the checkpoint has no projection head or does not fit.
    """
    if 'projection_head' not in cfg.model:
        raise InputError(
            f'{cfg.filename} whose model, a {cfg.model.type}, has no projection head',
            'a pretraining config',
            'use one of configs/pretrain',
        )
    weights = read_state_dict(checkpoint)
    if not any(name.startswith('projection_head.') for name in weights):
        raise InputError(
            f'{checkpoint} without projection head',
            "a training checkpoint of pretraining, which can bring points to the teacher's space",
            'an exported student has left its head behind: give epoch_N.pth of its work dir',
        )
    seed = read_metadata(checkpoint).get('seed', cfg.get('randomness', {}).get('seed', 0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS.build(cfg.model)
    load_strictly(model, weights, checkpoint, 'give the config it was trained with, with the same --cfg-options')
    return model.eval().to(get_device())


def tell_teacher(cfg: Config) -> str:
    """Model and weights of a config's teacher, in words; of a stand-in it is said that it is one."""
    teacher = cfg.model.teacher
    name, weights = teacher.get('name', teacher.type), str(teacher.get('weights', 'hub'))
    changes = ', '.join(f'{key} {value}' for key, value in (teacher.get('arch') or {}).items())
    name = f'{name} ({changes})' if changes else name
    if weights == 'random':
        return f'{name} with RANDOM weights, so that its features mean nothing'
    if weights == 'hub':
        return f"{name} with the weights of timm's hub"
    found = read_metadata(weights) if weights.endswith('.safetensors') else {}
    stand_in = f', a stand-in trained on {found.get("trained_on", "other images")}' if 'stand_in' in found else ''
    return f'{name} with the weights {weights}{stand_in}'


def tell_student(cfg: Config, checkpoint: str) -> str:
    """Run, checkpoint and heads of a student, in words."""
    path = Path(checkpoint).resolve()
    occupancy = ' + occupancy' if cfg.model.get('occupancy_head') else ''
    return f'{path.parent.name}/{path.name} ({cfg.model.projection_head.type}{occupancy})'


@torch.no_grad()
def distil_frame(
    frame: dict, view: FrameView, teacher: str, distillers: Sequence[tuple[str, CleverDistiller]]
) -> DistilledFrame:
    """Run the teacher on a frame's images and each student, through its projection head, on its sweep.

    Args:
        frame (dict): What the pipeline gave, see :func:`load_paired_frame`.
        view (FrameView): The same frame for drawing.
        teacher (str): What a sheet calls the teacher.
        distillers (Sequence[tuple[str, CleverDistiller]]): Name and model, all of one teacher.

    Returns:
        DistilledFrame: The features.

    Raises:
        InputError: If no point is paired with a pixel, or the models have different teachers.
    """
    batch = pseudo_collate([PackDistillationInputs()(frame)])
    students, patches = [], []
    for name, model in distillers:
        rows_and_columns = frame['img'].shape[1:3]
        if model.teacher.image_size_hw != rows_and_columns:
            raise InputError(
                f'{name}, whose teacher takes images of {model.teacher.image_size_hw}',
                f'{rows_and_columns}, as the first config loads them',
                'draw students of one teacher, and give its image_size_hw to LoadCameraImages',
            )
        inputs = model.data_preprocessor(batch)['inputs']
        (projected,) = devoxelize(model.projection_head(model.student(inputs.voxels)), inputs)
        students.append(ProjectedStudent(name, _unit(projected, 1)))
        patches.append(model.teacher(inputs.images).float())
        if patches[0].shape != patches[-1].shape or not torch.equal(patches[0], patches[-1]):
            raise InputError(
                f'{distillers[0][0]} and {name}, which learned from different teachers',
                'students of one teacher: others live in other spaces',
                'draw them on sheets of their own',
            )
    pairs = frame['pairs']
    if not len(pairs):
        raise InputError(f'{view.title} with no point in any picture', 'paired points', 'choose another frame')
    on_device = pairs.to(patches[0].device)
    pixel_features = sample_pixel_features(
        patches[0], on_device.image_index, on_device.uv_px, frame['img'].shape[1:3], distillers[0][1].align_corners
    )
    native_wh = frame['native_size_hw'][:, ::-1]  # (V, 2)
    scale = native_wh / np.array(frame['img'].shape[2:0:-1])
    image_index = pairs.image_index.numpy()
    return DistilledFrame(
        view=view,
        teacher=teacher,
        patch_features=_unit(patches[0].permute(0, 2, 3, 1), 3),
        point_index=pairs.point_index.numpy(),
        image_index=image_index,
        uv_px=pairs.uv_px.numpy() * scale[image_index],
        pixel_features=_unit(pixel_features, 1),
        students=tuple(students),
    )


def _unit(vectors: Tensor, dim: int) -> np.ndarray:
    return F.normalize(vectors.float(), dim=dim).cpu().numpy()
