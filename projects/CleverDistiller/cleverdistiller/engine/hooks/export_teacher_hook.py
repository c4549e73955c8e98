import json
from pathlib import Path

from mmdet3d.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import save_file

from cleverdistiller.engine.finite_state import check_finite_state
from cleverdistiller.engine.unwrapped import unwrapped
from cleverdistiller.fileio import replace_when_complete
from cleverdistiller.provenance import is_simulated, versions


@HOOKS.register_module()
class ExportTeacherHook(Hook):
    """After training, write the transformer of a :class:`PatchSegmentor` alone, for :class:`TimmViTTeacher`.

    ``teacher.safetensors`` in the work dir, with timm's names. Its metadata tell what the teacher is built with, that
    it is a stand-in for a foundation model, what it was trained on, the whole config, seed, epochs and versions.

    Raises:
        RuntimeError: If weights are NaN or infinite.
    """

    priority = 'LOW'

    def after_train(self, runner: Runner) -> None:
        check_finite_state(runner, 'no teacher is exported')
        self._write(runner)

    @master_only
    def _write(self, runner: Runner) -> None:
        model = unwrapped(runner)
        data_root = runner.train_dataloader.dataset.data_root
        metadata = dict(
            teacher=json.dumps(dict(type='TimmViTTeacher', **model.arguments)),
            stand_in='true',
            trained_on=str(data_root),
            simulated=json.dumps(is_simulated(data_root)),
            images=str(len(runner.train_dataloader.dataset)),
            config=runner.cfg.pretty_text,
            seed=str(runner.seed),
            epochs=str(runner.epoch),
            versions=json.dumps(versions()),
        )
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.vit.state_dict().items()}
        path = Path(runner.work_dir) / 'teacher.safetensors'
        with replace_when_complete(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
        runner.logger.info(f'The stand-in teacher ({len(tensors)} tensors) is in {path}')
