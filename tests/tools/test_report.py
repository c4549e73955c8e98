"""tools/report.py: both files, or a clear refusal and neither."""

import json

import pytest

from conftest import REPO
from demo_run import write_demo
from runs import run_script

TOOL = REPO / 'tools' / 'report.py'


def test_two_demos_of_the_same_numbers_differ_in_seconds_alone(tmp_path, capsys):
    told = []
    for name, seconds in (('first', 2), ('second', 3.5)):
        (tmp_path / name).mkdir()
        write_demo(tmp_path / name, stages=[dict(name='train', title='Train', command='train it', seconds=seconds)])
        run_script(TOOL, tmp_path / name)
        told.append(json.loads((tmp_path / name / 'report.json').read_text()))
    assert [content.pop('seconds') for content in told] == [dict(train=2), dict(train=3.5)]
    assert told[0] == told[1] and list(told[0]) == ['numbers', 'made_from']
    assert told[0]['numbers']['taught/lp/gain'] == 0.5 and told[0]['numbers']['random/lp/runs'] == [0.25, 0.5]
    made_from = told[0]['made_from']
    assert made_from['simulated'] is True and made_from['teacher']['kind'] == 'stand-in'
    assert made_from['commands'] == dict(train='train it') and made_from['metrics'] == dict(lp='seg/miou')
    assert (tmp_path / 'first' / 'report.html').read_text().startswith('<!doctype html>')
    assert 'probing: the taught one beats the random one by 50.0 mIoU points' in capsys.readouterr().out


def test_what_is_missing_is_told_and_nothing_is_written(tmp_path, capsys):
    write_demo(tmp_path)
    (tmp_path / 'picture.png').unlink()
    with pytest.raises(SystemExit) as left:
        run_script(TOOL, tmp_path)
    said = capsys.readouterr().err
    assert left.value.code == 2 and 'picture.png' in said and 'remedy' in said and 'Traceback' not in said
    assert not list(tmp_path.glob('report.*'))
