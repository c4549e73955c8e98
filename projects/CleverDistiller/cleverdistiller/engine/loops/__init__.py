from cleverdistiller.engine.loops.seeded_iter_train_loop import SeededIterTrainLoop

__all__ = ['SeededIterTrainLoop']
