import io
import json
from pathlib import Path

import torch
from mmdet3d.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import save_file

from cleverdistiller.engine.finite_state import check_finite_state
from cleverdistiller.engine.unwrapped import unwrapped
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.provenance import versions


@HOOKS.register_module()
class ExportStudentHook(Hook):
    """After training, write the student alone: ``student.pth`` and ``student.safetensors`` in the work dir.

    No teacher, no head. Both hold the same tensors under the backbone's own names and the same metadata:
    what built the student, the whole config, seed, epochs and versions. They load with
    ``weights_only=True``. A run that a guard stopped writes neither, nor one whose weights are not finite.

    Args:
        name (str): File name without suffix.

    Raises:
        RuntimeError: If weights or BatchNorm statistics are NaN or infinite.
    """

    priority = 'LOW'

    def __init__(self, name: str = 'student') -> None:
        self.name = name

    def after_train(self, runner: Runner) -> None:
        check_finite_state(runner, 'no student is exported')
        self._write(runner)

    @master_only
    def _write(self, runner: Runner) -> None:
        model = unwrapped(runner)
        state_dict = model.student.state_dict()  # an OrderedDict that knows the layout version of its kernels
        for name, tensor in state_dict.items():
            state_dict[name] = tensor.detach().cpu().contiguous()
        metadata = dict(
            student=json.dumps(dict(type=type(model.student).__name__, **model.student.arguments)),
            voxel_size_m=str(model.data_preprocessor.voxel_size_m),
            config=runner.cfg.pretty_text,
            seed=str(runner.seed),
            epochs=str(runner.epoch),
            iterations=str(runner.iter),
            versions=json.dumps(versions()),
        )
        stem = Path(runner.work_dir) / self.name
        with replace_when_complete(stem.with_suffix('.pth')) as temporary:
            content = io.BytesIO()  # writing itself, torch hides that the disk or quota is full
            torch.save(dict(meta=metadata, state_dict=state_dict), content)
            temporary.write_bytes(content.getbuffer())
        with replace_when_complete(stem.with_suffix('.safetensors')) as temporary:
            save_file(dict(state_dict), temporary, metadata=metadata)
        runner.logger.info(f'The student alone ({len(state_dict)} tensors) is in {stem}.pth and {stem}.safetensors')
