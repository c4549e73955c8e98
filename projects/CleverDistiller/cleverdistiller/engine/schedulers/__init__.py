from cleverdistiller.engine.schedulers.one_cycle import OneCycle

__all__ = ['OneCycle']
