"""Callbacks: what is recorded during training, one file each, found by the name in `record`.

An entry of `record` is a kind, or a mapping of a kind and its settings. A callback that keeps something between steps
is a dataclass (not a frozen one) with its settings as init fields and its state as `field(init=False)`. It offers what
it needs of the following, beside the contract:

- `state_dict()` and `load_state_dict(state)`: nested dicts and lists of tensors, numbers and text. It goes into the
  checkpoint; tensors come back on the CPU.
- `arrays()`: tensors by name, each with the k seeds of the stack as its leading axis. They end, all seeds of the batch
  together, in `snapshots/<kind>.safetensors`, where claims find them (`Tables.arrays`). A seed whose arrays are shorter
  than another's along a further axis is padded: NaN, or 0 for whole numbers.
- `restarts: ClassVar[bool] = True`: `on_step` may return a `Restart`. Full batches only. The seeds of such a cell train
  at once only if the optimizer's class says `per_slice_lr = True`, else one after another. A seed that was restarted is
  at own step 0 again (`training.steps_since_restart`); a seed that has diverged, or has done its epochs, is not.
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
