"""Callbacks: they record a training. One file each; `record` in a config names them.

An entry of `record` is a kind, or a mapping of a kind and its settings. A callback that keeps something between steps
is a dataclass that is not frozen: its settings are its init fields, and its state is in fields of `field(init=False)`.
A callback may also keep a state in checkpoints, save arrays, or restart seeds: see `KeepsState`, `LeavesArrays` and
`MayRestart` in optional_members.py.
"""

from boundcheck.registry import lazy

CALLBACKS: dict[str, str] = {
    "loss": "boundcheck.callbacks.loss:LossRecorder",
    "accuracy": "boundcheck.callbacks.accuracy:AccuracyRecorder",
    "gradient_norm": "boundcheck.callbacks.gradient_norm:GradientNormRecorder",
    "updates": "boundcheck.callbacks.updates:UpdateRecorder",
    "split_loss": "boundcheck.callbacks.split_loss:SplitLossRecorder",
    "curvature": "boundcheck.callbacks.curvature:CurvatureRecorder",
    "certificate": "boundcheck.callbacks.curvature:Certificate",
    "weight_norm": "boundcheck.callbacks.weight_norm:WeightNormRecorder",
    "bits": "boundcheck.callbacks.bits:BitsRecorder",
    "flip_ratio": "boundcheck.callbacks.flip_ratio:FlipRatioRecorder",
    "filter_replay": "boundcheck.callbacks.filter_replay:FilterReplay",
}

__getattr__ = lazy(__name__, CALLBACKS)
