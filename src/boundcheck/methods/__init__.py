"""Methods: one file each. METHODS are what a config names; OPTIMIZERS are usable in anyone's training script."""

from boundcheck.registry import lazy

METHODS: dict[str, str] = {
    "sgd": "boundcheck.methods.sgd:SGDMethod",
    "adamw": "boundcheck.methods.adamw:AdamWMethod",
    "sam": "boundcheck.methods.sam:SAMMethod",
    "gam": "boundcheck.methods.gam:GAMMethod",
}
OPTIMIZERS: dict[str, str] = {
    "sam": "boundcheck.methods.sam:SAM",
    "gam": "boundcheck.methods.gam:GAM",
}

__getattr__ = lazy(__name__, METHODS, OPTIMIZERS)
