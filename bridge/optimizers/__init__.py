"""Optimizers that update trees of parameters from trees of gradients, and schedules of their hyper-parameters.

Names, arguments and numbers are MLX's.
"""

from bridge.optimizers.adaptive import AdaDelta, Adagrad, Adam, Adamax, AdamW, RMSprop
from bridge.optimizers.clipping import clip_grad_norm
from bridge.optimizers.descent import SGD, Lion
from bridge.optimizers.matrices import Adafactor, Muon
from bridge.optimizers.multi import MultiOptimizer
from bridge.optimizers.optimizer import Optimizer
from bridge.optimizers.schedulers import (
    cosine_decay,
    exponential_decay,
    join_schedules,
    linear_schedule,
    step_decay,
)

__all__ = [
    "SGD",
    "AdaDelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "MultiOptimizer",
    "Muon",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
    "cosine_decay",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "step_decay",
]
