"""Features for pictures are the ones that the loss compares."""

import copy

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from safetensors.torch import save_file

from cleverdistiller.datasets.transforms import PackDistillationInputs
from cleverdistiller.errors import InputError
from cleverdistiller.visualization.distillation import distil_frame, load_distiller, tell_student, tell_teacher
from cleverdistiller.visualization.paired_frame import load_paired_frame, paired_dataset
from conftest import small_dataset, small_model, small_pipeline

ALL_PAIRS = dict(type='DistillationDataPreprocessor', voxel_size_m=0.2, pair_points='all')


@pytest.fixture
def cfg(frames_dir) -> Config:
    """Of a small pretraining whose images are mirrored and drawn by chance, with random teacher weights of seed 5."""
    pipeline = small_pipeline()
    pipeline[1].update(num_cams=1, hflip_prob=1.0)
    return Config(
        dict(
            model=small_model(data_preprocessor=ALL_PAIRS),
            train_dataloader=dict(dataset=small_dataset(frames_dir, pipeline=pipeline)),
            val_dataloader=dict(dataset=small_dataset(frames_dir, test_mode=True, num_frames=2)),
            randomness=dict(seed=5),
        )
    )


def train(cfg: Config, path, seed: int = 5):
    """A checkpoint as training leaves it, and its loss on the first frame."""
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model).eval()
    torch.save(dict(meta=dict(seed=seed), state_dict=model.state_dict()), path)
    return model


@pytest.mark.needs_sparse_conv
def test_cosines_of_the_drawn_features_give_the_loss(cfg, tmp_path):
    trained = train(cfg, tmp_path / 'epoch_1.pth')
    frame, view = load_paired_frame(paired_dataset(cfg, 'train'), 1)
    assert len(view.camera_rows[0]) == 2 and len(view.points_lidar_m) == 2880  # all cameras, the whole sweep
    model = load_distiller(cfg, str(tmp_path / 'epoch_1.pth'))
    found = distil_frame(frame, view, 'teacher', [('student', model)])
    cosines = (found.students[0].point_features[found.point_index] * found.pixel_features).sum(1)
    distance = np.sqrt(np.clip(2 - 2 * cosines, 0, None))
    batch = trained.data_preprocessor(pseudo_collate([PackDistillationInputs()(frame)]))
    with torch.no_grad():
        patches = trained.teacher(batch['inputs'].images)
        trained.occupancy_head = None  # its queries are not loaded
        loss = trained.loss(**batch)['loss_distill']
    assert np.mean([distance[found.image_index == image].mean() for image in (0, 1)]) == pytest.approx(
        loss.item(), abs=1e-4
    )
    np.testing.assert_allclose(np.linalg.norm(found.patch_features, axis=-1), 1, atol=1e-5)
    direction = patches[1, :, 2, 3] / patches[1, :, 2, 3].norm()
    np.testing.assert_allclose(found.patch_features[1, 2, 3], direction, atol=1e-5)


@pytest.mark.needs_sparse_conv
def test_pixels_are_those_of_the_stored_picture(cfg, tmp_path):
    train(cfg, tmp_path / 'epoch_1.pth')
    frame, view = load_paired_frame(paired_dataset(cfg, 'val'), 0)
    found = distil_frame(frame, view, '', [('', load_distiller(cfg, str(tmp_path / 'epoch_1.pth')))])
    for row in range(0, len(found.point_index), 97):
        camera = found.cameras[found.image_index[row]]
        at = camera.cam2img @ (camera.lidar2cam @ (*view.points_lidar_m[found.point_index[row]], 1))[:3]
        np.testing.assert_allclose(found.uv_px[row], at[:2] / at[2], atol=1e-3)


@pytest.mark.needs_sparse_conv
def test_students_of_another_teacher_are_refused(cfg, tmp_path):
    train(cfg, tmp_path / 'a.pth'), train(cfg, tmp_path / 'b.pth', seed=6)
    frame, view = load_paired_frame(paired_dataset(cfg, 'val'), 0)
    a, b = (load_distiller(cfg, str(tmp_path / name)) for name in ('a.pth', 'b.pth'))
    assert len(distil_frame(frame, view, '', [('a', a), ('again', a)]).students) == 2
    with pytest.raises(InputError, match='a and b, which learned from different teachers'):
        distil_frame(frame, view, '', [('a', a), ('b', b)])
    a.teacher.image_size_hw = (96, 128)
    with pytest.raises(InputError, match=r'\(64, 128\), as the first config'):
        distil_frame(frame, view, '', [('a', a)])
    b.data_preprocessor, frame['pairs'] = a.data_preprocessor, frame['pairs'].select(torch.zeros(0, dtype=torch.long))
    with pytest.raises(InputError, match='no point in any picture'):
        distil_frame(frame, view, '', [('b', b)])


@pytest.mark.needs_sparse_conv
def test_only_a_checkpoint_of_this_configs_training_will_do(cfg, tmp_path):
    model = train(cfg, tmp_path / 'epoch_1.pth')
    torch.save(model.student.state_dict(), tmp_path / 'student.pth')
    with pytest.raises(InputError, match='left its head behind'):
        load_distiller(cfg, str(tmp_path / 'student.pth'))
    wider = copy.deepcopy(cfg)
    wider.model.projection_head.hidden_channels = 48
    with pytest.raises(InputError, match='of another shape'):
        load_distiller(wider, str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(InputError, match='no projection head'):
        load_distiller(Config(dict(model=dict(type='StudentSegmentor'))), str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(InputError, match='0 to 1'):
        load_paired_frame(paired_dataset(cfg, 'val'), 2)


def test_teacher_and_student_are_named(cfg, tmp_path):
    assert 'RANDOM' in tell_teacher(cfg)
    path, tensors = str(tmp_path / 'teacher.safetensors'), dict(a=torch.ones(1))
    cfg.model.teacher.update(weights=path, arch=dict(depth=4))
    save_file(tensors, path)
    assert tell_teacher(cfg) == f'test_vit (depth 4) with the weights {path}'
    save_file(tensors, path, metadata=dict(stand_in='true', trained_on='made-up images'))
    assert tell_teacher(cfg).endswith(', a stand-in trained on made-up images')
    assert tell_student(cfg, 'runs/mlp/epoch_3.pth') == 'mlp/epoch_3.pth (MLPHead + occupancy)'
    cfg.model.occupancy_head = None
    assert tell_student(cfg, 'runs/mlp/epoch_3.pth') == 'mlp/epoch_3.pth (MLPHead)'
