from cleverdistiller.engine.hooks.epoch_seed_hook import EpochSeedHook
from cleverdistiller.engine.hooks.export_student_hook import ExportStudentHook
from cleverdistiller.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook

__all__ = ['EpochSeedHook', 'ExportStudentHook', 'SafeCheckpointHook']
