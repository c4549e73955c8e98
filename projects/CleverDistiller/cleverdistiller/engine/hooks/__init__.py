from cleverdistiller.engine.hooks.export_student_hook import ExportStudentHook
from cleverdistiller.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook
from cleverdistiller.engine.hooks.seed_hook import SeedHook

__all__ = ['ExportStudentHook', 'SafeCheckpointHook', 'SeedHook']
