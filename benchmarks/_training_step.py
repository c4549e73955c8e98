"""One training step of a shipped config on made-up batches, whole and in parts; shared by the benchmarks of it."""

import statistics
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from _made_up_frames import CAM2IMG, NATIVE_SIZE_HW, look_along
from mmcv.transforms import Compose
from mmdet3d.registry import MODELS
from mmdet3d.structures import LiDARPoints
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor, nn

import cleverdistiller  # noqa: F401  (fills the registries)
from cleverdistiller.compat import tune_cpu_memory
from cleverdistiller.models.teachers import FrozenTeacher
from cleverdistiller.structures import TeacherFeatures

PRETRAIN = Path(__file__).resolve().parent.parent / 'configs' / 'pretrain'
TEACHERS = dict(s='vits', b='vitb', l='vitl')
PATCH_PX = 14
PARTS = ('data', 'teacher', 'student', 'head', 'occupancy', 'optimiser')
PRECISIONS = dict(fp32=None, fp16='float16', bf16='bfloat16')


class GivenFeatures(FrozenTeacher):
    """In the place of a teacher whose features are cached: takes what the batch brings, of whatever origin."""

    def __init__(self, embed_dim: int, image_size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.embed_dim, self.image_size_hw = embed_dim, tuple(image_size_hw)

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError('the batch brings its features')

    def recall(self, features: TeacherFeatures, blocks=(), class_token: bool = False) -> TeacherFeatures:
        """See :meth:`FrozenTeacher.recall`."""
        return features


def full_config(teacher: str) -> Config:
    """The shipped 50-epoch config with a random teacher, ``s``, ``b`` or ``l``."""
    cfg = Config.fromfile(PRETRAIN / f'cleverdistiller_minkunet34_{TEACHERS[teacher]}_50e_nuscenes.py')
    cfg.model.teacher.weights = 'random'
    return cfg


def small_config(teacher: str) -> Config:
    """The same for a CPU: MinkUNet-14 at half width, 0.1 m voxels, the paper's narrow head."""
    cfg = full_config(teacher)
    cfg.model.student.update(depth=14, width=16)
    cfg.model.data_preprocessor.voxel_size_m = 0.1
    cfg.model.projection_head.hidden_channels = 256
    return cfg


def build_model(cfg: Config, device: str, cached: bool = False, compile_teacher: bool = False) -> nn.Module:
    """The config's distiller, in training mode, seeded."""
    tune_cpu_memory()  # as tools/train.py does
    init_default_scope('mmdet3d')
    torch.manual_seed(0)
    np.random.seed(0)
    model = MODELS.build(cfg.model).to(device)
    if cached:
        model.hold(GivenFeatures(model.teacher.embed_dim, model.teacher.image_size_hw))
    elif compile_teacher:
        model.teacher.vit.forward_intermediates = torch.compile(model.teacher.vit.forward_intermediates)
    return model.train()


def build_optimiser(cfg: Config, model: nn.Module, precision: str) -> OptimWrapper:
    """The config's optimiser, with mixed precision as asked."""
    wrapper = ConfigDict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer)
    if PRECISIONS[precision]:
        wrapper.update(type='AmpOptimWrapper', dtype=PRECISIONS[precision], loss_scale='dynamic')
    return build_optim_wrapper(model, wrapper)


def packed_frame(scan: np.ndarray, cameras: int, size_hw: tuple[int, int], steps: Sequence[dict]) -> dict:
    """A frame as the pipeline's steps after loading make it, with images of noise."""
    results = dict(
        points=LiDARPoints(torch.from_numpy(scan.copy()), points_dim=4),
        lidar_points=dict(lidar_path='made up'),
        img=np.random.randint(0, 256, (cameras, *size_hw, 3), dtype=np.uint8),
        input_size_hw=size_hw,
        cam2img=np.array([CAM2IMG] * cameras),
        lidar2cam=np.stack([look_along(2 * np.pi * i / cameras) for i in range(cameras)]),
        native_size_hw=np.array([NATIVE_SIZE_HW] * cameras),
        img_hflip=np.zeros(cameras, dtype=bool),
    )
    return Compose([step for step in steps if not step['type'].startswith('Load')])(results)


def make_batch(cfg: Config, scans: list, cameras: int, cached: bool, embed_dim: int) -> dict[str, list]:
    """What a data loader would hand over; in pinned memory where a GPU is."""
    size_hw = tuple(cfg.model.teacher.image_size_hw)
    batch = pseudo_collate([packed_frame(scan, cameras, size_hw, cfg.train_pipeline) for scan in scans])
    inputs = batch['inputs']
    if cached:
        shape = (cameras, embed_dim, *(side // PATCH_PX for side in size_hw))
        inputs['teacher_features'] = [TeacherFeatures(torch.randn(shape).half(), {}) for _ in inputs.pop('images')]
    if torch.cuda.is_available():
        inputs.update({key: [value.pin_memory() for value in values] for key, values in inputs.items()})
    return batch


class Clock:
    """Adds up seconds by part, waiting for the device at both ends of each."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds = device, Counter()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        wait_for(self.device)
        start = time.perf_counter()
        yield
        wait_for(self.device)
        self.seconds[part] += time.perf_counter() - start


def wait_for(device: str) -> None:
    """Until all that was asked of it is done."""
    if device == 'cuda':
        torch.cuda.synchronize()


def step_in_parts(model: nn.Module, optimiser: OptimWrapper, batch: dict, clock: Clock) -> None:
    """``CleverDistiller.loss`` and its gradient, cut at the student's features so that each part has its own backward.

    A part is its forward and its backward; ``data`` is the preprocessor: copies, Mix3D, voxels.
    """
    with optimiser.optim_context(model):
        with clock('data'):
            inputs = model.data_preprocessor(batch, True)['inputs']
        with clock('teacher'):
            teacher = model.teacher_features(inputs)
        with clock('student'):
            features = model.student(inputs.voxels)
        at_the_cut = features.detach().requires_grad_()
        with clock('head'):
            q_point = model.projection_head(model.at_points(at_the_cut, inputs))
            q_pixel = model.at_pixels(teacher.patches, inputs)
            loss = model.distillation_loss(q_point, q_pixel, inputs.pairs.image_index, sum(inputs.images_per_scan))
        with clock('occupancy'):
            losses = model.occupancy_head.loss(at_the_cut, inputs.voxels, inputs.points, inputs.queries)
    with clock('head'):
        optimiser.backward(loss)
    with clock('occupancy'):
        optimiser.backward(sum(losses.values()))
    with clock('student'):
        features.backward(at_the_cut.grad)
    with clock('optimiser'):
        optimiser.step()
        optimiser.zero_grad()


def median_step_seconds(
    model: nn.Module, optimiser: OptimWrapper, batch: dict, device: str, steps: int, warm_up: int = 1
) -> float:
    """Of whole steps, without waiting inside."""
    seconds = [step_seconds(model, optimiser, batch, device) for _ in range(warm_up + steps)]
    return statistics.median(seconds[warm_up:])


def step_seconds(model: nn.Module, optimiser: OptimWrapper, batch: dict, device: str) -> float:
    """Of one whole step."""
    clock = Clock(device)
    with clock('step'):
        model.train_step(batch, optimiser)
    return clock.seconds['step']


def waits_of_a_step(model: nn.Module, optimiser: OptimWrapper, batch: dict) -> dict[str, int]:
    """Where a step on CUDA makes the host wait, by file and line, and how often."""
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            model.train_step(batch, optimiser)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    waits = [each for each in caught if 'synchroniz' in str(each.message)]
    return dict(Counter(f'{"/".join(Path(each.filename).parts[-2:])}:{each.lineno}' for each in waits))
