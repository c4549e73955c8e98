"""Every config builds and, at reduced size, steps on a CPU."""

from pathlib import Path

import pytest
import torch
from mmdet3d.registry import DATASETS, METRICS, MODELS, PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper

from cleverdistiller.datasets.frame_list import FrameList
from conftest import REPO, small_dataset, small_pipeline
from kitti_root import ALL, write_kitti_root
from labelled_scans import write_labelled_scans
from runs import run_script
from waymo_detection_set import write_set

LEAVES = sorted((REPO / 'configs').glob('[!_]*/*.py'))
PRETRAIN = sorted((REPO / 'configs' / 'pretrain').glob('*_nuscenes.py'))
CONTRASTIVE = ('ppkt', 'slidr')  # theirs are built and stepped in models/test_contrastive_distillers.py
NUSCENES = [leaf for leaf in PRETRAIN if not leaf.name.startswith(CONTRASTIVE)]
ABLATIONS = sorted((REPO / 'configs' / 'ablation').glob('*.py'))
METHOD = REPO / 'configs' / 'pretrain' / 'cleverdistiller_minkunet34_vits_100e_nuscenes.py'
DETECTION = [leaf for leaf in LEAVES if 'pointrcnn_' in leaf.name and leaf.parent.name == 'detection']
SEGMENTATION = sorted((REPO / 'configs' / 'segmentation').glob('*.py'))
TRANSFER = [leaf for leaf in LEAVES if leaf.name.startswith(('lp_', 'ft_'))]
WIDTHS = dict(vits=384, vitb=768, vitl=1024)
SMALL_STUDENTS = dict(
    MinkUNetStudent=dict(depth=14, width=16),
    PointTransformerV3Student=dict(
        channels=(16,) * 5, depths=(1,) * 5, decoder_channels=(16,) * 4, decoder_depths=(1,) * 4, patch_size=64
    ),
)


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize('leaf', LEAVES, ids=name_of)
def test_a_leaf_has_at_most_25_lines_of_config(leaf):
    lines = [line for line in leaf.read_text().splitlines() if line.strip() and not line.startswith('#')]
    assert len(lines) <= 25


FOLDERS = dict(DEMO=['demo/*_simulated.py'], CLEVERDISTILLER_REAL_DATA=['pretrain/keyframe.py'])


@pytest.mark.parametrize('variable', FOLDERS)
def test_a_folder_that_the_environment_names_may_be_called_anything(tmp_path, monkeypatch, variable):
    folder = r"""/x/o'brien's "a b" #ü \n {$HOME}"""
    monkeypatch.setenv(variable, folder)
    texts = []
    for leaf in [leaf for pattern in FOLDERS[variable] for leaf in (REPO / 'configs').glob(pattern)]:
        cfg = Config.fromfile(leaf, import_custom_modules=False)
        root = cfg.train_dataloader.dataset.data_root
        assert root.startswith((f'{folder}/', 'data/')), leaf
        cfg.dump(tmp_path / leaf.name)
        assert Config.fromfile(tmp_path / leaf.name, import_custom_modules=False).to_dict() == cfg.to_dict()
        texts.append(str(cfg.to_dict()))
    assert any(repr(f'{folder}/')[1:-2] in text for text in texts)


def test_no_config_takes_a_path_into_its_text():
    """mmengine writes {{...}} into the source before Python reads it: an apostrophe in the path ends the string."""
    for path in (REPO / 'configs').rglob('*.py'):
        assert '{{' not in path.read_text(), path


def test_all_method_teacher_and_epoch_combinations_are_there():
    expected = {
        f'{method}_minkunet34_{teacher}_{epochs}e_nuscenes'
        for method in ('cleverdistiller', 'scalr')
        for teacher in WIDTHS
        for epochs in (50, 100)
    }
    expected |= {
        f'{method}_ptv3_{teacher}_100e_nuscenes' for method in ('cleverdistiller', 'scalr') for teacher in WIDTHS
    }
    expected |= {f'{method}_minkunet34_vits_{epochs}e_nuscenes' for method in CONTRASTIVE for epochs in (50, 100)}
    assert {leaf.stem for leaf in PRETRAIN} == expected


@pytest.mark.parametrize('leaf', NUSCENES, ids=name_of)
def test_says_what_its_name_says(leaf):
    cfg = Config.fromfile(leaf)
    method, student, teacher, epochs, _ = leaf.stem.split('_')
    assert f'{cfg.train_cfg.max_epochs}e' == epochs
    assert dict(vits='small', vitb='base', vitl='large')[teacher] in cfg.model.teacher.name
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    if method == 'scalr':
        assert cfg.model.projection_head == dict(type='LinearHead') and cfg.model.occupancy_head is None
    else:
        assert cfg.model.projection_head.type == 'MLPHead' and cfg.model.occupancy_head.weight == 0.05
    assert ('SampleOccupancyQueries' in steps) == (method == 'cleverdistiller')
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW', lr=0.002 if student == 'ptv3' else 0.001, weight_decay=0.005
    )
    assert cfg.model.data_preprocessor.mix3d_prob == 0.8


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'leaf',
    [leaf for leaf in NUSCENES if ('_50e_' in leaf.name and 'vitl' not in leaf.name) or 'ptv3_vits' in leaf.name],
    ids=name_of,
)
def test_steps_on_a_cpu_at_reduced_size(leaf, frames_dir):
    cfg = Config.fromfile(leaf)
    cfg.model.teacher.update(weights='random', image_size_hw=(28, 56))
    cfg.model.student.update(SMALL_STUDENTS[cfg.model.student.type])
    cfg.model.data_preprocessor.voxel_size_m = 0.2
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    pipeline = [step for step in small_pipeline() if step['type'] in steps]
    pipeline[1]['size_hw'] = (28, 56)
    dataset = DATASETS.build(small_dataset(frames_dir, pipeline=pipeline))
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer))
    schedule = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=wrapper, end=10))
    losses = model.train_step(pseudo_collate([dataset[0], dataset[1]]), wrapper)
    schedule.step()
    assert torch.isfinite(losses['loss']) and losses['loss_distill'] > 0


# Those of TemporalConsistency want keyframes in order, and are stepped with its tests.
@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('leaf', [leaf for leaf in ABLATIONS if not leaf.name.startswith('temporal')], ids=name_of)
def test_an_ablation_steps_on_a_cpu_at_reduced_size(leaf, frames_dir):
    cfg = Config.fromfile(leaf)
    auxiliaries = cfg.model.get('auxiliaries', [])
    for part in (cfg.model, *auxiliaries):
        if 'teacher' in part:
            patch = 16 if 'patch16' in part.teacher.name else 14
            part.teacher.update(weights='random', arch=dict(depth=2), image_size_hw=(2 * patch, 4 * patch))
    size_hw = cfg.model.teacher.image_size_hw
    cfg.model.student.update(SMALL_STUDENTS[cfg.model.student.type])
    cfg.model.data_preprocessor.voxel_size_m = 0.2
    pipeline = cfg.train_dataloader.dataset.pipeline
    for step in pipeline:
        if step.type == 'LoadCameraImages':
            step.size_hw = size_hw
    dataset = DATASETS.build(small_dataset(frames_dir, pipeline=pipeline))
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer))
    losses = model.train_step(pseudo_collate([dataset[0], dataset[1]]), wrapper)
    assert torch.isfinite(losses['loss']) and losses['loss_distill'] > 0
    assert ('loss_occupancy' in losses) == (cfg.model.occupancy_head is not None)
    assert {f'loss_{auxiliary.name}' for auxiliary in model.auxiliaries} <= set(losses)
    assert len(model.auxiliaries) == len(auxiliaries)


def test_each_ablation_differs_from_the_method_and_from_the_others():
    texts = [Config.fromfile(leaf).pretty_text for leaf in (*ABLATIONS, METHOD)]
    assert len(set(texts)) == len(texts)


def test_the_published_protocols_are_there():
    percents = dict(
        nuscenes=(1, 5, 10, 25, 100),
        semantickitti=(1,),
        waymo=(1,),
        scribblekitti=(1, 10),
        rellis3d=(1, 10),
        semanticstf=(50, 100),
        daps3d=(50, 100),
    )
    expected = {f'ft_minkunet34_{percent}_{name}' for name, every in percents.items() for percent in every}
    expected |= {f'submission_minkunet34_{name}' for name in ('nuscenes', 'semantickitti')}
    expected |= {'lp_minkunet34_100_nuscenes', 'lp_ptv3_100_nuscenes', 'ft_minkunet34_1_semantickitti_weighted'}
    expected |= {f'ft_ptv3_{percent}_nuscenes' for percent in percents['nuscenes']}
    expected |= {f'ft_ptv3_1_{name}' for name in ('semantickitti', 'waymo')}
    assert {leaf.stem for leaf in SEGMENTATION} == expected


@pytest.mark.parametrize('leaf', TRANSFER, ids=name_of)
def test_a_transfer_says_what_its_name_says(leaf):
    cfg = Config.fromfile(leaf)
    task, student, percent, name = leaf.stem.removesuffix('_simulated').removesuffix('_weighted').split('_')
    dataset = DATASETS.get(cfg.train_dataloader.dataset.type)
    assert dataset.name == name and cfg.model.num_classes == len(dataset.labels.names)
    backbone = cfg.model.backbone
    built = 'ptv3' if backbone.type == 'PointTransformerV3Student' else f'minkunet{backbone.depth}'
    assert built == student
    assert cfg.model.get('frozen', False) == (task == 'lp')
    listed = cfg.train_dataloader.dataset.get('frame_list')
    assert (listed is None) == (percent == '100')
    assert listed is None or listed.endswith(f'uniform0_{percent}.json')
    assert cfg.model.student_weights == 'required'
    assert cfg.val_dataloader.dataset.test_mode and not cfg.val_dataloader.sampler.round_up
    if 'demo' not in leaf.parts:
        assert cfg.train_cfg.max_epochs == (50 if task == 'lp' else 100)


@pytest.mark.parametrize('leaf', SEGMENTATION, ids=name_of)
def test_a_submission_or_test_pipeline_differs_from_training_only_where_it_must(leaf):
    cfg = Config.fromfile(leaf)
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline if step.type != 'AugmentScan']
    if leaf.stem.startswith('submission'):
        steps.remove('LoadPointLabels')
    assert [step.type for step in cfg.test_dataloader.dataset.pipeline] == steps
    assert [step.type for step in cfg.tta_pipeline] == [*steps[:-1], 'TestTimeAug']
    assert cfg.test_dataloader.dataset.pipeline[0] == cfg.tta_pipeline[0] == cfg.train_dataloader.dataset.pipeline[0]


# One of each dataset, and all that run on simulated data.
STEPPED = [leaf for leaf in TRANSFER if 'demo' in leaf.parts or leaf.stem.split('_')[2] in ('1', '50')]


@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize('leaf', STEPPED, ids=name_of)
def test_a_transfer_steps_and_predicts_on_a_cpu_at_reduced_size(leaf, tmp_path):
    cfg = Config.fromfile(leaf)
    write_labelled_scans(tmp_path, cfg.train_dataloader.dataset, count=2)
    cfg.model.backbone.update(SMALL_STUDENTS[cfg.model.backbone.type])
    cfg.model.update(student_weights=None, data_preprocessor=dict(cfg.model.data_preprocessor, voxel_size_m=0.5))
    model = MODELS.build(cfg.model)
    training = DATASETS.build(dict(cfg.train_dataloader.dataset, data_root=str(tmp_path), frame_list=None))
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer))
    losses = model.train_step(pseudo_collate([training[0], training[1]]), wrapper)
    assert torch.isfinite(losses['loss']) and losses['loss'] > 0 and losses['labelled_voxels'] > 0
    test = DATASETS.build(dict(cfg.test_dataloader.dataset, data_root=str(tmp_path), ann_file=training.ann_file))
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = test.metainfo
    model.eval()
    for frame in test:
        metric.process({}, [sample.to_dict() for sample in model.test_step(pseudo_collate([frame]))])
    assert 0 <= metric.evaluate(len(test))['seg/miou'] <= 1


def test_the_class_weights_are_in_the_order_of_the_classes():
    """Pointcept's order, from which its weights were copied."""
    names = [
        'car',
        'bicycle',
        'motorcycle',
        'truck',
        'other-vehicle',
        'person',
        'bicyclist',
        'motorcyclist',
        'road',
        'parking',
        'sidewalk',
        'other-ground',
        'building',
        'fence',
        'vegetation',
        'trunk',
        'terrain',
        'pole',
        'traffic-sign',
    ]
    cfg = Config.fromfile(REPO / 'configs/segmentation/ft_minkunet34_1_semantickitti_weighted.py')
    assert list(DATASETS.get(cfg.train_dataloader.dataset.type).labels.names) == names
    weights = dict(zip(names, cfg.model.losses.ce.class_weight))
    assert len(cfg.model.losses.ce.class_weight) == 19
    assert max(weights, key=weights.get) == 'motorcyclist' and min(weights, key=weights.get) == 'vegetation'


def test_the_detection_protocols_are_there():
    sets = [(percent, 'kitti') for percent in (5, 10, 20, 100)] + [(5, 'waymo'), (10, 'waymo')]
    expected = {
        f'{method}_pointrcnn_minkunet34_{percent}_{name}'
        for method in ('random', 'scalr', 'cleverdistiller')
        for percent, name in sets
    }
    expected |= {
        f'{method}100e_pointrcnn_minkunet34_{percent}_{name}'
        for method in ('scalr', 'cleverdistiller')
        for percent, name in sets
        if percent != 100
    }
    expected |= {f'{method}_openpcdetpointrcnn_minkunet34_5_kitti' for method in ('random', 'scalr', 'cleverdistiller')}
    expected |= {f'random_pointrcnn_pointnet2_{percent}_kitti' for percent in (5, 100)}
    expected.add('submission_pointrcnn_minkunet34_kitti')
    assert {leaf.stem for leaf in DETECTION} == expected


@pytest.mark.parametrize('leaf', [leaf for leaf in DETECTION if 'submission' not in leaf.name], ids=name_of)
def test_a_detector_says_what_its_name_says(leaf):
    cfg = Config.fromfile(leaf)
    method, detector, backbone, percent, name = leaf.stem.split('_')
    method, epochs = (method.removesuffix('100e'), 100) if method.endswith('100e') else (method, 50)
    assert DATASETS.get(cfg.train_dataloader.dataset.type).name.removesuffix('_detection') == name
    listed = cfg.train_dataloader.dataset.get('frame_list')
    assert (listed is None) == (percent == '100')
    if name == 'kitti' and listed:
        assert FrameList.read(REPO / listed).percent == percent
    samplers = [step.db_sampler for step in cfg.train_dataloader.dataset.pipeline if step.type == 'ObjectSample']
    assert [sampler.gt_db for sampler in samplers] == ['split']
    assert cfg.train_cfg.max_epochs == 80 and cfg.optim_wrapper.optimizer.betas == (0.95, 0.99)
    if backbone == 'minkunet34':
        weights = cfg.model.backbone.student_weights
        assert cfg.model.backbone.student.depth == 34 and cfg.model.backbone.voxel_size_m == 0.05
        assert weights == (
            None if method == 'random' else f'work_dirs/{method}_minkunet34_vitb_{epochs}e_nuscenes/student.safetensors'
        )

    stage, openpcdet = cfg.model.train_cfg.rcnn, detector == 'openpcdetpointrcnn'
    assert (stage.cls_pos_thr, stage.cls_neg_thr) == ((0.6, 0.45) if openpcdet else (0.7, 0.25))
    assert cfg.model.test_cfg.rpn.nms_cfg.nms_post == (100 if openpcdet else 512)


@pytest.fixture(scope='module')
def detection_roots(tmp_path_factory) -> dict[str, Path]:
    """A made-up set for each benchmark."""
    kitti = write_kitti_root(tmp_path_factory.mktemp('kitti'), dict(train={'000001': ALL, '000002': ALL}, val={}))
    run_script(REPO / 'tools' / 'prepare_kitti.py', kitti)
    waymo = tmp_path_factory.mktemp('waymo')
    write_set(waymo)
    return dict(kitti=kitti, waymo=waymo)


@pytest.mark.needs_mmcv_ops
@pytest.mark.needs_sparse_conv
@pytest.mark.parametrize(
    'detector, name, whole',
    [
        ('pointrcnn', 'kitti', False),
        ('pointrcnn', 'kitti', True),
        ('pointrcnn', 'waymo', False),
        ('pointrcnn', 'waymo', True),
        ('openpcdetpointrcnn', 'kitti', False),
    ],
)
def test_a_detector_steps_on_a_cpu_at_reduced_size(detector, name, whole, detection_roots):
    """With the leaf's own pipeline; whole clouds as the data set's config and docs/detection.md describe them."""
    cfg = Config.fromfile(REPO / f'configs/detection/random_{detector}_minkunet34_5_{name}.py')
    root = detection_roots[name]
    reduced = {
        'backbone.voxel_size_m': 0.5,
        'backbone.student': dict(type='MinkUNetStudent', depth=14, width=16, variant='mmdet3d'),
        'roi_head.bbox_roi_extractor.roi_layer.num_sampled_points': 32,
        'roi_head.bbox_head.num_points': (16, 4, -1),
        'train_cfg.rcnn.sampler.num': 16,
        'train_cfg.rpn_proposal.nms_cfg.nms_pre': 128,
    }
    if whole:
        reduced['num_points'] = 256
    cfg.merge_from_dict({f'model.{key}': value for key, value in reduced.items()})
    pipeline = []
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'ObjectSample':
            step.db_sampler.update(data_root=f'{root}/', info_path=f'{root}/{name}_dbinfos_train.pkl')
        if step.type == 'DetectionPointSample':
            step.update(type='SampledPointsFirst' if whole else step.type, num_points=256)
        if not (whole and step.type == 'PointShuffle'):
            pipeline.append(step)
    dataset = DATASETS.build(
        dict(cfg.train_dataloader.dataset, data_root=f'{root}/', frame_list=None, pipeline=pipeline)
    )
    model = MODELS.build(cfg.model)
    head = model.roi_head.bbox_head
    norms = [part for part in head.SA_modules.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert (head.score_target, bool(norms)) == (
        ('class', False) if detector == 'openpcdetpointrcnn' else ('overlap', True)
    )
    wrapper = build_optim_wrapper(model, dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer))
    losses = model.train_step(pseudo_collate([dataset[0], dataset[1]]), wrapper)
    assert torch.isfinite(losses['loss']) and losses['loss'] > 0
