"""Odd files of students, as people have them: read, or one error that says what is odd."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cleverdistiller.downstream.student_weights import StudentOptions, transfer_student
from cleverdistiller.errors import InputError

OPTIONS = StudentOptions('model', 'model.backbone', 'model.data_preprocessor.voxel_size_m')
SAID = dict(voxel_size_m='0.05', student=json.dumps(dict(type='Small', width=4)))


class Small(nn.Sequential):
    """Has what a student's transfer asks for."""

    def __init__(self) -> None:
        super().__init__(*[nn.Linear(4, 4) for _ in range(30)])
        self.arguments = dict(width=4)


@pytest.fixture(scope='module')
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return dict(Small().state_dict())


def transfer(path, **options) -> Small:
    student = Small()
    report = transfer_student(student, str(path), 0.05, OPTIONS, **options)
    assert report.share == 1
    return student


def refused(path) -> str:
    student = Small()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(InputError) as left:
        transfer_student(student, str(path), 0.05, OPTIONS)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    text = str(left.value)
    assert path.name in text and 'remedy: ' in text and len(text.splitlines()) <= 5 and len(text) < 1200
    return text


@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.', 'module.student.', 'student._orig_mod.', 'student.'])
def test_a_student_is_taken_out_of_what_wraps_it(tmp_path, weights, prefix):
    torch.save(dict(state_dict={prefix + name: value for name, value in weights.items()}), tmp_path / 'w.pth')
    found = transfer(tmp_path / 'w.pth').state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone.student.', 'net.encoder.'])
def test_a_prefix_with_a_meaning_is_named(tmp_path, weights, prefix):
    """A segmentor's backbone has learned from labels: it is not taken for a distilled student without a word."""
    head = {'decode_head.linear.weight': torch.zeros(19, 4)}
    torch.save(dict(state_dict={prefix + name: value for name, value in weights.items()} | head), tmp_path / 'w.pth')
    assert f'with the prefix {prefix!r}' in refused(tmp_path / 'w.pth')


@pytest.mark.parametrize('number', [math.nan, math.inf])
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_weights_that_are_not_finite_are_not_reported_as_loaded(tmp_path, weights, number, suffix, monkeypatch):
    told = []
    monkeypatch.setattr('cleverdistiller.downstream.student_weights.print_log', lambda text, **_: told.append(text))
    bad, path = {**weights, '3.bias': torch.full((4,), number)}, tmp_path / f'student.{suffix}'
    save_file(bad, path, metadata=SAID) if suffix == 'safetensors' else torch.save(dict(state_dict=bad), path)
    assert '4 of 4 numbers of 3.bias NaN or infinite' in refused(path)
    assert told == []


@pytest.mark.parametrize('size', ['0.05 m', [0.05, 0.05, 0.05], '', 'nan', '-0.05', 0, math.inf, dict(x=0.05)], ids=str)
def test_a_voxel_size_that_is_no_length_is_named(tmp_path, weights, size):
    path = tmp_path / 'student.pth'
    torch.save(dict(meta=dict(SAID, voxel_size_m=size), state_dict=weights), path)
    assert f'voxel_size_m={size!r}' in refused(path)
    transfer(path, allow_other_voxel_size=True)


@pytest.mark.parametrize('said', ["{'width': 4}", '["Small"]', '', '4', 'null', dict(width=4), None], ids=str)
def test_what_builds_a_student_must_be_json(tmp_path, weights, said):
    path = tmp_path / 'student.pth'
    torch.save(dict(meta=dict(SAID, student=said), state_dict=weights), path)
    assert f'student={str(said)!r}' in refused(path)


def test_what_is_sound_is_taken(tmp_path, weights):
    for said in (SAID, dict(voxel_size_m='5e-2'), {}):
        save_file(weights, tmp_path / 'student.safetensors', metadata=said)
        transfer(tmp_path / 'student.safetensors')
    torch.save(dict(meta=dict(voxel_size_m=None), state_dict=weights), tmp_path / 'student.pth')
    transfer(tmp_path / 'student.pth')
