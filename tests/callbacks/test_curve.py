import math

import torch

from boundcheck.callbacks.curve import Curve


def filled():
    curve = Curve([3, 4])
    for step in range(4):
        curve.record("train_loss", step, step / 2, torch.tensor([step, 10.0 + step]))
        if step % 2:
            curve.record("norm", step, step / 2, torch.tensor([0.5, 0.25], dtype=torch.float64), index=step)
        if step == 1:
            curve.flush()
    return curve


def test_rows_are_tidy_and_in_order():
    columns = filled().columns([None, None])
    assert columns["seed"] == [3, 4] * 6
    assert columns["quantity"][::2] == ["train_loss", "train_loss", "norm", "train_loss", "train_loss", "norm"]
    assert columns["value"][:4] == [0.0, 10.0, 1.0, 11.0]
    assert columns["index"][4:6] == [1, 1]
    assert columns["epoch"][2] == 0.5
    assert all(math.isnan(value) for value in columns["coordinate"])


def test_a_diverged_seed_ends_at_its_step():
    columns = filled().columns([1, None])
    rows = list(zip(columns["seed"], columns["step"], strict=True))
    assert max(step for seed, step in rows if seed == 3) == 1
    assert max(step for seed, step in rows if seed == 4) == 3


def test_a_state_goes_on_where_it_was():
    whole, part = filled(), Curve([3, 4])
    part.load_state_dict(filled().state_dict())
    for curve in (whole, part):
        curve.record("train_loss", 4, 2.0, torch.tensor([4.0, 14.0]))
    assert whole.columns([None, None])["value"] == part.columns([None, None])["value"]


def test_recorded_values_do_not_change_with_the_tensor():
    curve, losses = Curve([0]), torch.ones(1)
    curve.record("train_loss", 0, 0.0, losses.clone())
    losses.zero_()
    assert curve.columns([None])["value"] == [1.0]


def test_latest_gives_the_newest_mean():
    assert filled().latest("train_loss") == "train_loss 6.0000"  # only what was flushed counts
    curve = filled()
    curve.flush()
    assert curve.latest("train_loss", "norm", "missing") == "train_loss 8.0000  norm 0.3750"


def test_an_empty_curve_has_no_rows():
    assert Curve([0]).columns([None])["seed"] == []


def test_a_restarted_seed_begins_again():
    curve = filled()
    curve.restart(1, 3, 0.25)
    curve.record("train_loss", 4, 4.0, torch.tensor([4.0, 20.0]))
    columns = curve.columns([None, None])
    rows = list(zip(columns["seed"], columns["quantity"], columns["step"], columns["value"], strict=True))
    assert [row for row in rows if row[0] == 4] == [(4, "train_loss", 0, 20.0), (4, "restart", 3, 0.25)]
    assert [row[2] for row in rows if row[0] == 3 and row[1] == "train_loss"] == [0, 1, 2, 3, 4]
    assert columns["epoch"][-2:] == [0.0, 3.0]
    assert curve.num_restarts(1) == columns["index"][-1] == 1


def test_what_does_not_count_is_no_row():
    curve = filled()
    curve.is_recorded = (True, False)
    curve.record("train_loss", 4, 2.0, torch.tensor([4.0, 14.0]))
    columns = curve.columns([None, None])
    assert [s for s, step in zip(columns["seed"], columns["step"], strict=True) if step == 4] == [3]


def test_a_callback_may_record_some_seeds_only():
    curve = Curve([3, 4, 5])
    curve.is_recorded = (True, True, False)
    curve.record("sharpness", 0, 0.0, torch.ones(3), where=torch.tensor([False, True, True]))
    assert curve.columns([None] * 3)["seed"] == [4]
