import json

import numpy as np

from cleverdistiller.provenance import versions, write_results


def test_numbers_come_first_and_are_json(tmp_path):
    numbers = {'seg/miou': np.float64(0.5), 'seg/iou/bus': float('nan'), 'loss': float('inf'), 'frames': 3}
    write_results(tmp_path / 'new' / 'results.json', numbers, dict(seed=0, versions=versions()))

    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    content = json.loads((tmp_path / 'new' / 'results.json').read_text(), parse_constant=refuse)
    assert list(content) == [*numbers, 'made_from']
    assert [content[name] for name in numbers] == [0.5, None, None, 3]
    assert content['made_from']['versions'].keys() == {'cleverdistiller', 'mmdet3d', 'torch'}
