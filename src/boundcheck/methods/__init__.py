"""Methods: one file each. METHODS are what a config names; OPTIMIZERS are usable in anyone's training script."""

from boundcheck.registry import lazy

METHODS: dict[str, str] = {
    "sgd": "boundcheck.methods.sgd:SGDMethod",
    "adamw": "boundcheck.methods.adamw:AdamWMethod",
    "sam": "boundcheck.methods.sam:SAMMethod",
    "gsam": "boundcheck.methods.gsam:GSAMMethod",
    "gradient_penalty": "boundcheck.methods.gradient_penalty:GradientPenaltyMethod",
    "gam": "boundcheck.methods.gam:GAMMethod",
    "ascent_only": "boundcheck.methods.ascent_only:AscentOnlyMethod",
}
OPTIMIZERS: dict[str, str] = {
    "sam": "boundcheck.methods.sam:SAM",
    "gsam": "boundcheck.methods.gsam:GSAM",
    "gradient_penalty": "boundcheck.methods.gradient_penalty:GradientPenalty",
    "gam": "boundcheck.methods.gam:GAM",
    "ascent_only": "boundcheck.methods.ascent_only:AscentOnly",
}

__getattr__ = lazy(__name__, METHODS, OPTIMIZERS)
