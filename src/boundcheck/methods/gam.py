"""Gradient norm aware minimisation: descent on the loss plus the largest gradient norm nearby."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from boundcheck.methods.gam_directions import (
    accelerated,
    accelerated_as_released,
    flatness_gradient,
    flatness_gradient_by_differences,
)
from boundcheck.methods.gsam import gsam_gradient
from boundcheck.methods.landscape import Landscape
from boundcheck.methods.multi_pass import MultiPass
from boundcheck.methods.sam import sam_gradient
from boundcheck.methods.sgd import SGDMethod
from boundcheck.methods.variant import BaseVariant, MultiPassMethod
from boundcheck.settings import Count, CountOrZero, NotNegative, Positive, Share, TrainingSettings, check, settings

Form = Literal["exact", "finite_difference", "accelerated_paper", "accelerated_released"]
Oracle = Literal["none", "sam", "gsam"]
ACCELERATED = ("accelerated_paper", "accelerated_released")


class GAM(MultiPass):
    """GAM: descent on L(θ) + α R¹_ρ(θ), where R¹_ρ(θ) = ρ max_{‖θ′−θ‖≤ρ} ‖∇L(θ′)‖ is the first-order flatness.

    The base optimizer steps along d. With f = ∇‖∇L‖ = ∇²L ĝ, v̂ = v/(‖v‖ + ξ), and g₀ to g₃ as in `ascend`:

    - `exact` (Algorithm 1): d = ∇L_o(θ) + α ρ f(θ + ρ f̂(θ)), by Hessian-vector products. Its closure returns the loss
      and does not call backward. `inner_steps` K > 1 repeats δ ← ρ f̂(θ + δ) from δ = 0 and takes f at θ + δ.
    - `finite_difference`: d = ∇L_o(θ) + α ρ (g₃ − g₂)/ρ′. It differs from `exact` by O(ρ′) if ∇²L is Lipschitz, and not
      at all on quadratics. On ReLU networks it is a different regulariser.
    - `accelerated_paper` (Algorithm 2): d = h₊ − γ h₋⊥, h₊ = α g₁ + (1 − α) g₃, h₋ = β g₀ + (1 − β) g₂, h₋⊥ the part
      of h₋ orthogonal to h₊. It does not approximate `exact`: the flatness term vanishes as ρ′ → 0.
    - `accelerated_released`: the authors' code, where h₋ = g₀ + |1 − β| g₂, and θ keeps the rounding errors of adding
      and subtracting the perturbations.

    L_o is the loss that `oracle` names: L (none), or that of SAM or GSAM with radius `oracle_rho`.
    The authors' values of (ρ, ρ′, β, α, γ) for the released form with SGD: CIFAR-100 ResNet .2 .02 .5 .6 .03,
    PyramidNet .2 .04 .3 .5 .05; CIFAR-10 ResNet .2 .03 .1 .1 .05, PyramidNet .2 .03 .1 .1 .03.

    Args:
        base: the optimizer that makes the step.
        rho: ρ ≥ 0, in the unit of θ.
        alpha: α ≥ 0; in the accelerated forms it has another meaning and is in [0, 1].
        form: exact, finite_difference, accelerated_paper or accelerated_released.
        radius: ρ′ > 0, in the unit of θ; for all forms except `exact`.
        beta: β in [0, 1]; for the accelerated forms.
        gamma: γ ≥ 0; for the accelerated forms.
        inner_steps: K ≥ 1; for `exact`.
        oracle: none, sam or gsam; for `exact` and `finite_difference`.
        oracle_rho: the radius of SAM or GSAM.
        oracle_alpha: the α of GSAM.
        rho_min: ρ falls with the learning rate, to `rho_min` where that is 0; None: it does not.
        rho_warmup: steps in which ρ grows to its full value, in equal parts.
        alpha_min: as `rho_min`, of α.
        alpha_warmup: as `rho_warmup`, of α.
        oracle_rho_min: as `rho_min`, of the oracle's radius.
        oracle_rho_warmup: as `rho_warmup`, of the oracle's radius.
        model: the network, if its batch normalisation shall count the first pass only.
        num_stacked: k seeds trained at once.

    References:
        Zhang, Xu, Yu, Zou, Cui 2023, Gradient norm aware minimization, arXiv:2303.03108, and the authors' public code.
    """

    def __init__(
        self,
        base: Optimizer,
        rho: float,
        alpha: float,
        form: Form = "exact",
        *,
        radius: float | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        inner_steps: int = 1,
        oracle: Oracle = "none",
        oracle_rho: float | None = None,
        oracle_alpha: float | None = None,
        rho_min: float | None = None,
        rho_warmup: int = 0,
        alpha_min: float | None = None,
        alpha_warmup: int = 0,
        oracle_rho_min: float | None = None,
        oracle_rho_warmup: int = 0,
        model: nn.Module | None = None,
        num_stacked: int = 1,
    ) -> None:
        check("form", form, Form)
        check("oracle", oracle, Oracle)
        check("inner_steps", inner_steps, Count)
        if form in ACCELERATED and oracle != "none":
            raise ValueError(f"oracle: got {oracle!r}; allowed: none, with form {form!r}")
        if form != "exact" and inner_steps != 1:
            raise ValueError(f"inner_steps: got {inner_steps}; allowed: 1, with form {form!r}")
        self.form, self.oracle, self.inner_steps = form, oracle, inner_steps
        self.second_order = form == "exact"
        numbers = {"rho": rho, "alpha": alpha, "radius": radius, "beta": beta, "gamma": gamma}
        numbers |= {"oracle_rho": oracle_rho, "oracle_alpha": oracle_alpha}
        schedules = {
            "rho": (rho_min, rho_warmup),
            "alpha": (alpha_min, alpha_warmup),
            "oracle_rho": (oracle_rho_min, oracle_rho_warmup),
        }
        super().__init__(base, numbers, schedules, model=model, num_stacked=num_stacked)

    def direction(
        self,
        landscape: Landscape,
        rho: Any,
        alpha: Any,
        radius: Any,
        beta: Any,
        gamma: Any,
        oracle_rho: Any,
        oracle_alpha: Any,
    ) -> Tensor:
        """d (k, p)."""
        if self.form == "accelerated_paper":
            return accelerated(landscape, rho, alpha, radius, beta, gamma)
        if self.form == "accelerated_released":
            return accelerated_as_released(landscape, rho, alpha, radius, beta, gamma)
        if self.form == "exact":
            flatness = flatness_gradient(landscape, rho, self.inner_steps)
        else:
            flatness = flatness_gradient_by_differences(landscape, rho, radius)
        if self.oracle == "sam":
            gradient = sam_gradient(landscape, oracle_rho)
        elif self.oracle == "gsam":
            gradient = gsam_gradient(landscape, oracle_rho, oracle_alpha)
        else:
            gradient = landscape.gradient
        return flatness.mul_(alpha).add_(gradient)

    def check(self, group: Mapping[str, Any]) -> None:
        """Refuse numbers that are not allowed, missing, or not used by the form and the oracle."""
        for name, (taken, form) in self._rules().items():
            if taken:
                check(name, group[name], form)
            elif group[name] is not None:
                raise ValueError(
                    f"{name}: got {group[name]!r}; allowed: none, with form {self.form!r}, oracle {self.oracle!r}"
                )

    def _rules(self) -> dict[str, tuple[bool, Any]]:
        """For each number: whether the form or the oracle uses it, and the values that it may have."""
        is_accelerated = self.form in ACCELERATED
        return {
            "rho": (True, NotNegative),
            "alpha": (True, Share if is_accelerated else NotNegative),
            "radius": (self.form != "exact", Positive),
            "beta": (is_accelerated, Share),
            "gamma": (is_accelerated, NotNegative),
            "oracle_rho": (self.oracle != "none", NotNegative),
            "oracle_alpha": (self.oracle == "gsam", NotNegative),
        }


@settings
class GAMMethod(MultiPassMethod):
    """GAM as a config variant; `base` is a variant of sgd or adamw, the rest are arguments of `GAM`."""

    base: BaseVariant
    rho: NotNegative
    alpha: NotNegative
    form: Form = "exact"
    radius: Positive | None = None
    beta: Share | None = None
    gamma: NotNegative | None = None
    inner_steps: Count = 1
    oracle: Oracle = "none"
    oracle_rho: NotNegative | None = None
    oracle_alpha: NotNegative | None = None
    rho_min: NotNegative | None = None
    rho_warmup: CountOrZero = 0
    alpha_min: NotNegative | None = None
    alpha_warmup: CountOrZero = 0
    oracle_rho_min: NotNegative | None = None
    oracle_rho_warmup: CountOrZero = 0

    wrapper: ClassVar[type[MultiPass]] = GAM

    @property
    def second_order(self) -> bool:  # type: ignore[override]
        """Whether the closure returns the loss without calling backward."""
        return self.form == "exact"

    @property
    def num_gradients(self) -> int:
        """Gradient evaluations per step, a Hessian-vector product counted as one."""
        along_the_ascent = 2 + 2 * self.inner_steps if self.form == "exact" else 4
        return along_the_ascent + (self.oracle != "none")

    def converges(self, training: TrainingSettings) -> bool:
        """Whether the convergence theorem of theory/gam/convergence.py covers a training with these settings.

        The theorem assumes exact Hessian-vector products, one ascent step without an oracle, plain gradient steps on
        full batches, and a step size and a radius that decrease to 0 like 1/√t.
        """
        base = self._base()
        is_plain = isinstance(base, SGDMethod) and not (base.momentum or base.weight_decay)
        has_fixed_alpha = self.alpha_min in (None, self.alpha) and not self.alpha_warmup
        falls_to_0 = self.rho_min == 0 and not (self.rho_warmup or training.warmup_epochs)
        return (
            is_plain
            and has_fixed_alpha
            and falls_to_0
            and (self.form, self.oracle, self.inner_steps) == ("exact", "none", 1)
            and (training.batch_size, training.lr_schedule) == ("full", "inverse_sqrt")
        )
