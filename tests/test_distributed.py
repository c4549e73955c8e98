"""Two processes on half batches against one on the whole batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmdet3d.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from torch import nn

from conftest import small_dataset, small_model

pytestmark = pytest.mark.needs_sparse_conv


def build_model() -> nn.Module:
    torch.manual_seed(0)
    model = MODELS.build(small_model())
    for layer in model.student.modules():  # batch norm sees another batch by design: hold it still
        if isinstance(layer, nn.BatchNorm1d):
            layer.forward = layer.eval().forward
            layer.train = lambda mode=True, layer=layer: layer
    return model.train()


def load_scans(frames_dir) -> list[dict]:
    # The third frame sees less: ranks count other numbers of pairs, views and support.
    dataset = DATASETS.build(small_dataset(frames_dir))
    scans = [dataset[i] for i in range(4)]
    pairs = scans[2]['inputs']['pairs']
    scans[2]['inputs']['pairs'] = pairs.select((pairs.image_index == 1) & (pairs.point_index % 3 == 0))
    return scans


def gradients(model, scans) -> dict[str, torch.Tensor]:
    core = getattr(model, 'module', model)
    batch = core.data_preprocessor(pseudo_collate(scans), False)
    loss, _ = core.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    return {name: p.grad.clone() for name, p in core.named_parameters() if p.grad is not None}


def worker(rank: int, port: int, frames_dir, out) -> None:
    init_default_scope('mmdet3d')
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    scans = load_scans(frames_dir)[2 * rank : 2 * rank + 2]
    found = gradients(MMDistributedDataParallel(build_model()), scans)
    if rank == 0:
        torch.save(found, out)
    dist.barrier()  # no destroy_process_group, see test_safe_seg_metric


def free_port() -> int:
    import socket

    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def test_half_batches_on_two_ranks_give_the_whole_batch_s_gradients(tmp_path, frames_dir):
    expected = gradients(build_model(), load_scans(frames_dir))
    mp.spawn(worker, (free_port(), frames_dir, tmp_path / 'gradients.pth'), nprocs=2)
    found = torch.load(tmp_path / 'gradients.pth')
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().clamp(min=1e-3)
        assert (found[name] - gradient).abs().max() / scale < 1e-5, name
