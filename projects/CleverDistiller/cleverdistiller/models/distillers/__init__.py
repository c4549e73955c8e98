from cleverdistiller.models.distillers.clever_distiller import CleverDistiller

__all__ = ['CleverDistiller']
