"""Every shipped config, trained and tested by the rules that only a GPU enforces: see ``pretended_gpu``."""

import copy
import json
import math
from collections import Counter
from contextlib import nullcontext
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, METRICS, MODELS
from mmdet3d.structures import Det3DDataSample, PointData
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from cleverdistiller.ops.sparse_conv import use_algorithm_for
from cleverdistiller.ops.voxelize import voxelize
from conftest import small_dataset
from pretended_gpu import GPU, PretendedGPU, numbers_of, on_gpu
from small_point_rcnn import batch, reduced_point_rcnn, street
from spconv_kernels import missing_kernels
from temporal_frames import write_temporal_frames
from test_configs import LEAVES, SMALL_STUDENTS, name_of

pytestmark = pytest.mark.needs_sparse_conv

STEPS = ('train', 'frozen', 'eval')
STUDENT_WAITS = dict(MinkUNetStudent=7, PointTransformerV3Student=19)
PRECISIONS = (None, torch.float16, torch.bfloat16)  # of autocast, which --amp asks for


config_of = cache(Config.fromfile)


def reduced(leaf: Path) -> dict:
    """The leaf's model, small, of the same kinds of parts; the same for leaves that differ in sizes and data alone."""
    cfg = copy.deepcopy(config_of(leaf).model)
    if cfg.type == 'TransferPointRCNN':
        same = {'num_points': 512} if cfg.get('num_points') else {}
        if cfg.backbone.type == 'StudentPointBackbone':
            same['backbone.random_representative'] = True
        return without_weights(reduced_point_rcnn(leaf, same).to_dict())
    if cfg.type == 'PatchSegmentor':
        cfg.update(arch=dict(cfg.arch, depth=1), image_size_hw=(28, 56))
        return cfg.to_dict()
    student = cfg.backbone if cfg.type == 'StudentSegmentor' else cfg.student
    student.update(SMALL_STUDENTS[student.type])
    cfg.data_preprocessor.update(voxel_size_m=1.0, mix3d_prob=1.0)
    if cfg.type == 'StudentSegmentor':
        cfg.update(student_weights=None, num_classes=4)
        for criterion in cfg.losses.values():
            criterion.pop('class_weight', None)
    for part in (cfg, *cfg.get('auxiliaries', [])):
        if 'teacher' in part:
            name = part.teacher.name.replace('large', 'small').replace('base', 'small')
            arch = dict(part.teacher.get('arch', {}), depth=2)
            patch = arch.get('patch_size', 16 if 'patch16' in name else 14)
            part.teacher.update(name=name, weights='random', arch=arch, image_size_hw=(2 * patch, 4 * patch))
        if part.get('projection_head', {}).get('hidden_channels'):
            part.projection_head.hidden_channels = 32
    return without_weights(cfg.to_dict())


def without_weights(value):
    """Factors of losses change no rule."""
    if isinstance(value, dict):
        return {key: without_weights(part) for key, part in value.items() if key not in ('weight', 'intensity_weight')}
    return [without_weights(part) for part in value] if isinstance(value, (list, tuple)) else value


@pytest.fixture(scope='module')
def batch_for(tmp_path_factory):
    """A batch of two for a model; the distillers' has everything that any of them reads."""
    frames = write_temporal_frames(tmp_path_factory.mktemp('frames'))
    superpixels = dict(cache_dir=str(tmp_path_factory.mktemp('superpixels')), num_segments=20, sigma=1.0)

    @cache
    def distillation(size_hw: tuple[int, int]) -> dict:
        steps = [
            dict(type='LoadLiDARSweep'),
            dict(type='LoadCameraImages', size_hw=size_hw),
            dict(type='LoadSuperpixels', **superpixels),
            dict(type='PairPointsWithPixels'),
            dict(type='SampleOccupancyQueries', num_queries=64),
            dict(type='LoadNextSweep'),
            dict(type='AugmentScan'),
            dict(type='PackDistillationInputs'),
        ]
        dataset = DATASETS.build(small_dataset(frames, with_next_frame=True, pipeline=steps))
        return pseudo_collate([dataset[2], dataset[3]])

    def make(cfg: ConfigDict) -> dict:
        if cfg.type == 'TransferPointRCNN':
            return batch(street(0), street(1))
        if cfg.type == 'StudentSegmentor':
            return pseudo_collate([labelled_scan(seed) for seed in range(2)])
        if cfg.type == 'PatchSegmentor':
            return pseudo_collate([labelled_image(cfg) for _ in range(2)])
        return distillation(tuple(cfg.teacher.image_size_hw))

    return make


def labelled_scan(seed: int, points: int = 400) -> dict:
    """A fifth of the points has no class."""
    rng = np.random.default_rng(seed)
    cloud = torch.from_numpy(rng.uniform(-20, 20, (points, 4))).float()
    sample = Det3DDataSample(gt_pts_seg=PointData(pts_semantic_mask=torch.from_numpy(rng.integers(0, 5, points))))
    return dict(inputs=dict(points=cloud), data_samples=sample)


def labelled_image(cfg: ConfigDict) -> dict:
    height, width = cfg.image_size_hw
    shares = torch.rand(height * width // cfg.arch.patch_size**2, cfg.num_classes).softmax(1)
    sample = Det3DDataSample(gt_pts_seg=PointData(patch_share=shares))
    return dict(inputs=torch.randint(256, (3, height, width)).byte(), data_samples=sample)


def autocast(precision: torch.dtype | None):
    return nullcontext() if precision is None else torch.autocast('cuda', precision)


@pytest.fixture(scope='module')
def waits_in(batch_for):
    """What the host waited for in a step of a reduced model; leaves that reduce to the same share the run."""

    @lru_cache(maxsize=1)
    def built(key: str):
        return PretendedGPU.put(MODELS.build(ConfigDict(json.loads(key))))

    predicted = set()

    @cache
    def run(key: str, step: str, precision: torch.dtype | None) -> Counter:
        cfg = ConfigDict(json.loads(key))
        model, data = built(key), batch_for(cfg)
        holder = model.backbone if cfg.type == 'TransferPointRCNN' else model
        if step == 'frozen' and not hasattr(holder, 'frozen'):
            return Counter()
        if step == 'eval' and 'teacher' in cfg:  # of the student alone
            if (seen := (json.dumps(cfg.student), precision)) in predicted:
                return Counter()
            predicted.add(seen)
        if hasattr(holder, 'frozen'):
            holder.frozen = step == 'frozen' or cfg.get('frozen', False)
        model.train(step != 'eval')
        with PretendedGPU() as gpu, autocast(precision):
            data = model.data_preprocessor(data, step != 'eval')
            if step == 'eval':
                found = model(**data, mode='predict')
            else:
                found = model.parse_losses(model(**data, mode='loss'))[0]
            waits = gpu.waits.copy()
        if step != 'eval':
            assert numbers_of(found).isfinite()
        elif hasattr(model, 'teacher'):
            with PretendedGPU():
                metric = METRICS.build(dict(type='RankMeMetric', points_per_frame=16))
                metric.process({}, found)
            assert metric.compute_metrics(metric.results)['num_points'] == 32
        return waits

    return run


def allowed_waits(cfg: ConfigDict) -> int:
    """How often the host may wait in a training step of two scans; docs/benchmarks.md says for what."""
    if cfg.type == 'PatchSegmentor':
        return 4  # the batch, which is not pinned
    if cfg.type == 'TransferPointRCNN':
        return 170  # mostly mmdet3d's: masks, samplers, boxes
    if cfg.type == 'StudentSegmentor':
        lovasz = 4 * ('lovasz' in cfg.losses)  # of a class each, in mmdet3d's
        return 2 + STUDENT_WAITS[cfg.backbone.type] + lovasz
    beyond = [auxiliary['type'] for auxiliary in cfg.get('auxiliaries', [])]
    students = 1 + ('TemporalConsistency' in beyond)
    tokens = 4 * ('ClassTokenMatching' in beyond)  # two a scan
    teachers = [part.teacher.name for part in (cfg, *cfg.get('auxiliaries', [])) if 'teacher' in part]
    rotary = sum('dinov3' in name for name in teachers)  # timm makes their positions' angles on the CPU
    return 3 + students * STUDENT_WAITS[cfg.student.type] + tokens + (cfg.type == 'SLidR') + rotary


@pytest.mark.parametrize('leaf', LEAVES, ids=name_of)
def test_a_config_takes_every_step_as_a_gpu_allows_and_waits_no_more_than_it_must(leaf, waits_in):
    cfg = reduced(leaf)
    key = json.dumps(cfg, sort_keys=True)
    half_only = config_of(leaf).optim_wrapper.type == 'AmpOptimWrapper'
    for step in STEPS:
        for precision in PRECISIONS[half_only and step == 'train' :]:
            waits = waits_in(key, step, precision)
            if step == 'train':
                assert waits.total() <= allowed_waits(ConfigDict(cfg)), waits


@pytest.fixture(params=SMALL_STUDENTS)
def student(request) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(type=request.param, **SMALL_STUDENTS[request.param]))


def grid_of(points: Tensor):
    return voxelize(points, torch.zeros(len(points), dtype=torch.int64, device=points.device), 1, 0.2, False)


@torch.no_grad()
def test_the_pretended_gpu_computes_what_the_cpu_does(student):
    points = torch.rand(300, 4) * 5
    expected = copy.deepcopy(student).eval()(grid_of(points))
    trained = copy.deepcopy(student).train()(grid_of(points)) if not hasattr(student, 'curves') else None
    student = PretendedGPU.put(student.eval())
    for precision in PRECISIONS:
        with PretendedGPU(), autocast(precision):
            found = student(grid_of(on_gpu(points)))
        assert found.is_cuda and found.dtype == torch.float32
        torch.testing.assert_close(numbers_of(found), expected, atol=1e-4, rtol=1e-4)
    if trained is not None:
        with PretendedGPU(), autocast(torch.float16):
            rough = student.train()(grid_of(on_gpu(points)))
        assert rough.dtype == torch.float16
        assert 0 < (numbers_of(rough).float() - trained).norm() < 0.01 * trained.norm()


@pytest.mark.parametrize('precision', PRECISIONS[1:])
def test_without_the_rule_of_eval_mode_a_frozen_minkunet_finds_no_kernel(precision):
    """The fault that the rule is for: linear probing stopped on every GPU."""
    student = PretendedGPU.put(MODELS.build(dict(type='MinkUNetStudent', depth=14, width=16)).eval())
    with PretendedGPU(), autocast(precision):
        grid = grid_of(on_gpu(torch.rand(300, 4) * 5))
        student(grid)
        with pytest.raises(RuntimeError, match=r'suitable algorithm: features torch.float16, weight torch.float32'):
            student._forward_taps(grid, ('last',))


def put_a_number_of_the_host(rows: Tensor) -> Tensor:
    return rows + torch.ones(3)


def draw_by_the_host(rows: Tensor) -> Tensor:
    return torch.rand(3, device=rows.device, generator=torch.Generator())


def multiply_half_by_float(rows: Tensor) -> Tensor:
    return rows.half()[None] @ rows[:, None]


def add_half_to_float(rows: Tensor) -> Tensor:
    return rows.clone().index_add_(0, torch.zeros(3, dtype=torch.int64, device=rows.device), rows.half())


def decompose_in_half(rows: Tensor) -> Tensor:
    return torch.linalg.svdvals(rows.half()[None])


@pytest.mark.parametrize(
    'operation, message',
    [
        (put_a_number_of_the_host, 'same device'),
        (draw_by_the_host, 'generator'),
        (multiply_half_by_float, 'same dtype'),
        (add_half_to_float, 'same dtype'),
        (decompose_in_half, 'half'),
    ],
)
def test_what_a_gpu_refuses_is_refused(operation, message):
    with PretendedGPU(), pytest.raises(RuntimeError, match=message):
        operation(on_gpu(torch.rand(3)))


def test_what_makes_the_host_wait_is_counted():
    rows = torch.arange(4.0)
    with PretendedGPU() as gpu:
        there = on_gpu(rows)
        assert (there * 2 + torch.tensor(1.0)).sum().is_cuda and not gpu.waits  # a number of the host may come along
        rows.to(GPU, non_blocking=True), there.new_zeros(3), torch.zeros(2, device=GPU), there[1:3], there[None]
        assert not gpu.waits
        waiting = (
            lambda: there.sum().item(),
            lambda: bool(there.any()),
            lambda: there.tolist(),
            lambda: there.cpu(),
            lambda: rows.to(GPU),
            lambda: torch.tensor([1.0, 2], device=GPU),
            lambda: there[[0, 1]],
            lambda: there[torch.tensor([0])],
            lambda: there[there > 1],
            lambda: there.unique(),
            lambda: (there > 1).nonzero(),
            lambda: torch.bincount(there.long()),
        )
        for count, wait in enumerate(waiting, 1):
            wait()
            assert gpu.waits.total() == count, count
    assert torch.equal(numbers_of(there), rows)


def test_spconv_has_kernels_for_every_convolution_at_full_size():
    """Kernels ask for channels that a vector of memory divides: another thing than types."""
    students = [config_of(leaf).model for leaf in LEAVES]
    students = [cfg.get('student') or cfg.get('backbone', {}) for cfg in students]
    students = {json.dumps(cfg.get('student', cfg).to_dict(), sort_keys=True) for cfg in students if cfg}
    shapes = set()
    for student in map(json.loads, students):
        if student['type'] in SMALL_STUDENTS:
            with torch.device('meta'):
                built = MODELS.build(student)
            use_algorithm_for(built, GPU)
            for layer in built.modules():
                if hasattr(layer, 'algo'):
                    c_out, *taps, c_in = layer.weight.shape
                    shapes.add(((c_out, math.prod(taps), c_in), layer.algo.name == 'Native'))
    assert len(shapes) > 20
    for shape, native in shapes:
        for one in (torch.float32, torch.float16):
            assert not missing_kernels(one, one, one, shape, native, True)
    single, half, other = torch.float32, torch.float16, torch.bfloat16
    for types in ((half, single, single), (single, half, half), (half, half, single), (other, other, other)):
        assert missing_kernels(*types, shape, native, False)
