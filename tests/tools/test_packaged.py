"""What the command-line tools share: clear errors, and options that mmengine would change without a word."""

import argparse
import errno
import os
import sys

import pytest

from cleverdistiller.errors import InputError
from conftest import REPO

sys.path.insert(0, str(REPO / 'tools'))

from _packaged import ConfigOptions, clear_errors, refuse_changed_paths


def parsed(*words: str) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={})
    return parser.parse_args(['--cfg-options', *words]).cfg_options


@pytest.mark.parametrize('path', ["/x/o'brien/s.pth", '/x/a#b/s.pth', '/x/ü/s.pth', '/x/a=b&c;d/s.pth', 'a-b/$c.pth'])
def test_a_path_arrives_as_it_was_given(path):
    assert parsed(f'model.student_weights={path}') == {'model.student_weights': path}


@pytest.mark.parametrize('word', ['model.student_weights=/x/my dir/s.pth', 'load_from=a b/c.pth', 'work_dir= /x'])
def test_a_path_with_blanks_is_refused_by_name(word, capsys):
    with pytest.raises(SystemExit):
        parsed('randomness.seed=1', word)
    assert word in capsys.readouterr().err
    with pytest.raises(InputError, match='blanks'):
        refuse_changed_paths(['train.py', 'config.py', '--cfg-options', word])


@pytest.mark.parametrize(
    ('word', 'value'), [('a.b=[1, 2]', [1, 2]), ('a.b=x/1, y/2', ['x/1', 'y/2']), ('a.b=1', 1), ('a.b=None', None)]
)
def test_other_values_are_read_as_mmengine_does(word, value):
    assert parsed(word) == {'a.b': value}


def test_words_that_are_no_options_may_hold_blanks():
    refuse_changed_paths(['--work-dir', '/x/my dir', '/x/my dir/config.py', '--work-dir=/x/my dir'])


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_that_another_library_meets_is_one_error(code, capsys):
    with pytest.raises(SystemExit) as left, clear_errors():
        raise OSError(code, os.strerror(code), '/x/vis_data/scalars.json')
    text = capsys.readouterr().err
    assert left.value.code == 2 and 'remedy: free some space' in text
    assert f'got: /x/vis_data/scalars.json, for which there is no room ({os.strerror(code)})' in text


def test_other_errors_keep_their_traceback():
    with pytest.raises(PermissionError), clear_errors():
        raise PermissionError(errno.EACCES, 'no')
