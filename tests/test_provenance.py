import json
import sys

import numpy as np
import pytest

from cleverdistiller.datasets import MaskedImages
from cleverdistiller.datasets.waymo_record_files import split_record_files
from cleverdistiller.errors import InputError
from cleverdistiller.provenance import pass_the_mark_on, refuse_unfinished, versions, write_results
from conftest import REPO

sys.path.insert(0, str(REPO / 'tools'))

import prepare_kitti
import prepare_nuscenes
import prepare_segmentation


def test_numbers_come_first_and_are_json(tmp_path):
    numbers = {'seg/miou': np.float64(0.5), 'seg/iou/bus': float('nan'), 'loss': float('inf'), 'frames': 3}
    write_results(tmp_path / 'new' / 'results.json', numbers, dict(seed=0, versions=versions()))

    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    content = json.loads((tmp_path / 'new' / 'results.json').read_text(), parse_constant=refuse)
    assert list(content) == [*numbers, 'made_from']
    assert [content[name] for name in numbers] == [0.5, None, None, 3]
    assert content['made_from']['versions'].keys() == {'cleverdistiller', 'mmdet3d', 'torch'}


@pytest.mark.parametrize(
    'reads',
    [
        refuse_unfinished,
        prepare_kitti.prepare,
        prepare_nuscenes.prepare,
        lambda root: prepare_segmentation.prepare('semantickitti', root),
        lambda root: split_record_files(root, 'training'),
        lambda root: MaskedImages(str(root)),
    ],
    ids=['rule', 'kitti', 'nuscenes', 'semantickitti', 'waymo', 'images'],
)
def test_a_simulated_set_is_refused_until_it_is_complete(tmp_path, reads):
    (tmp_path / 'simulation.json').write_text(json.dumps(dict(simulated=True, complete=False)))
    with pytest.raises(InputError, match=r'not complete(?s:.*)run the same tools/simulate.py'):
        reads(tmp_path)


@pytest.mark.parametrize('mark', [None, '', '[]', '{}', '{"complete": true}'])
def test_other_folders_are_not_refused_for_their_mark(tmp_path, mark):
    if mark is not None:
        (tmp_path / 'simulation.json').write_text(mark)
    refuse_unfinished(tmp_path)
    pass_the_mark_on(tmp_path, tmp_path / 'out')
    passed = tmp_path / 'out' / 'simulation.json'
    assert (passed.read_text() if passed.exists() else None) == mark
