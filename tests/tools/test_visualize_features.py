"""tools/visualize.py features and similarity as a user calls them."""

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from PIL import Image

from cleverdistiller.engine.cached_config import with_teacher_cache
from conftest import REPO
from runs import run_script, write_config

pytestmark = pytest.mark.needs_sparse_conv

VISUALIZE = REPO / 'tools' / 'visualize.py'


@pytest.fixture(scope='module')
def trained(tmp_path_factory, frames_dir) -> tuple:
    """Config and checkpoint of the distiller, not trained."""
    folder = tmp_path_factory.mktemp('run')
    config = write_config(folder, frames_dir)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    torch.save(dict(meta=dict(seed=0), state_dict=model.state_dict()), folder / 'epoch_1.pth')
    torch.save(model.student.state_dict(), folder / 'student.pth')
    return config, folder / 'epoch_1.pth'


def test_features_of_two_students_are_drawn_and_told(trained, tmp_path, capsys):
    out = tmp_path / 'features.png'
    run_script(VISUALIZE, 'features', *trained, '--against', *trained, '--cameras', 'CAM_BACK', '--out', out)
    said = capsys.readouterr().out
    assert said.count('mean cosine to the teacher') == 2 and 'one constant' in said
    assert Image.open(out).width == 2400


def test_the_config_of_a_training_from_a_cache_is_drawn_from_its_images(trained, tmp_path, capsys):
    config, checkpoint = trained
    cached = tmp_path / 'cached.py'
    with_teacher_cache(Config.fromfile(config), str(tmp_path / 'gone')).dump(cached)
    for path in (config, cached):
        run_script(VISUALIZE, 'features', path, checkpoint, '--out', tmp_path / f'{path.stem}.png')
    assert (tmp_path / 'cached.png').read_bytes() == (tmp_path / f'{config.stem}.png').read_bytes()


def test_similar_things_are_drawn_and_the_queries_told(trained, tmp_path, capsys):
    out = tmp_path / 'similarity.png'
    run_script(VISUALIZE, 'similarity', *trained, '--camera', 'CAM_BACK', '--set', 'train', '--out', out)
    queries = [line for line in capsys.readouterr().out.splitlines() if line.startswith('--query')]
    three = Image.open(out).height
    assert len(queries) == 3
    options = ('--camera', 'CAM_BACK', '--set', 'train', '--scale', 0, 1, *queries[0].split(), '--out', out)
    run_script(VISUALIZE, 'similarity', *trained, *options)
    assert queries[0] in capsys.readouterr().out and Image.open(out).height < three


@pytest.mark.parametrize(
    'command,options',
    [
        ('features', ('--index', 2)),
        ('features', ('--cameras', 'CAM_TOP')),
        ('features', ('--reach', 0)),
        ('similarity', ('--camera', 'CAM_TOP')),
        ('similarity', ('--query', 500, 10)),
        ('similarity', ('--scale', 1, 0)),
        ('similarity', ('--out', 'similarity.html')),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused_with_a_remedy(trained, tmp_path, capsys, command, options):
    out = tmp_path / 'sheet.png'
    with pytest.raises(SystemExit) as left:
        run_script(VISUALIZE, command, *trained, '--out', out, *options)
    said = capsys.readouterr().err
    assert left.value.code == 2 and 'remedy' in said and 'Traceback' not in said and not out.exists()


def test_an_exported_student_is_refused(trained, tmp_path, capsys):
    config, checkpoint = trained
    with pytest.raises(SystemExit):
        run_script(VISUALIZE, 'features', config, checkpoint.with_name('student.pth'), '--out', tmp_path / 'a.png')
    assert 'give epoch_N.pth' in capsys.readouterr().err
