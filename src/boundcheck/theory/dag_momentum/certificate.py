"""A step size that is certified before the first step: the Hessian of a DAG network on a ball it cannot leave.

Weight decay makes the assumption of bounded weights provable. Training minimises E_λ = E + (λ/2) ‖w‖² with E ≥ 0, so
as long as E_λ does not rise, ‖w‖ ≤ R = √(2E_λ(w⁰)/λ) (`dag_momentum.convergence.weight_bound`), and on that ball the
Hessian has the explicit bound L(R) of `a_priori_curvature`. With η < 2/(L(R)(1 + s)) every step lowers E_λ, gradients
vanish, and for analytic activations the weights converge to one point: no hypothesis is left that only a measurement
could verify. Proof that the steps stay where L(R) counts: if on the segment of a step E_λ first exceeded E_λ(w) at t*,
then up to t* its points had E_λ ≤ E_λ(w⁰), hence curvature at most L(R), and the Taylor bound behind
`dag_momentum.step.decrease` would say E_λ(w + t*d) < E_λ(w). Derived here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject
from boundcheck.theory.dag_momentum.hessian import ACTIVATION_BOUNDS, PathSums, sublevel_hessian_bound

AT_ZERO = {"sigmoid": 0.5, "tanh": 0.0, "linear": 0.0}


def ball_path_sums(
    widths: Sequence[int],
    parents: Sequence[Sequence[int]],
    activations: Sequence[str],
    input_norms: npt.ArrayLike,
    radius: float,
) -> PathSums:
    """`dag_momentum.hessian.path_sums` for all weights with ‖w‖ ≤ R at once.

    Statement: the sums over paths hold with (R/√q)^q for the product of the norms of the q edges of a path, and with
    X_l = min{√n_l G0_l, √n_l |g_l(0)| + G1_l R Y_l}, which is finite for linear layers too.
    Proof: a path uses an edge once and Σ ‖W_lj‖₂² ≤ ‖w‖² ≤ R², so by the inequality of the means the product is at most
    (R²/q)^(q/2); every sum grows with each product. B_L = Σ_m Π_Lm (G2_m Z_m² + G1_m √(Σ_{j∈P(m)} A_j²)), unrolled.
    |g(z)| ≤ |g(0)| + G1 |z| and ‖z_l‖ ≤ R Y_l. It is sharper than every norm at R by q^(q/2) for each path.

    Args:
        widths: n_0 … n_L.
        parents: P(1) … P(L).
        activations: of layers 1 … L: sigmoid, tanh or linear.
        input_norms: ‖x_0^n‖ (num_samples,).
        radius: R ≥ 0.

    Returns:
        A_L and B_L (num_samples,).
    """
    reject("radius", radius, not radius >= 0, "radius >= 0")
    depth = len(parents)
    products = np.array([(radius / np.sqrt(q)) ** q if q else 1.0 for q in range(depth + 1)])
    (x,) = floats(input_norms)
    X, A = [x], [np.zeros_like(x)]
    carried: list[FloatArray] = [np.zeros_like(x)]  # G1_m Y_m, what a unit of v_m moves the output of its own layer by
    bent: list[FloatArray] = [np.zeros_like(x)]  # what d²x_L[v, v] gets at layer m, before the paths from there
    paths = np.zeros((depth + 1, depth + 1, depth + 1))  # [l, m, q]: paths of q edges from m to l, weighted by slopes
    paths[0, 0, 0] = 1
    for level, (below, name) in enumerate(zip(parents, activations, strict=True), start=1):
        bounds = ACTIVATION_BOUNDS[name]
        Y = np.sqrt(1 + sum(X[j] ** 2 for j in below))
        paths[level, :, 1:] = bounds.slope * sum(paths[j, :, :-1] for j in below)
        paths[level, level, 0] = 1
        carried.append(bounds.slope * Y)
        reached = paths[level] @ products  # (m,)
        A2 = sum(((reached[m] * carried[m]) ** 2 for m in range(1, level + 1)), np.zeros_like(x))
        A.append(np.sqrt(A2))
        bent.append(bounds.curvature * A2 / bounds.slope**2 + bounds.slope * np.sqrt(sum(A[j] ** 2 for j in below)))
        root = np.sqrt(widths[level])
        X.append(np.minimum(root * bounds.value, root * AT_ZERO[name] + bounds.slope * radius * Y))
    arriving = paths[depth] @ products
    return PathSums(A[-1], sum((arriving[m] * bent[m] for m in range(1, depth + 1)), np.zeros_like(x)))


def a_priori_curvature(
    sums: PathSums, initial_objective: npt.ArrayLike, weight_decay: npt.ArrayLike, scale: float
) -> FloatArray:
    """L(R) ≥ ‖∇²E_λ(w)‖ for every w with E_λ(w) ≤ E_λ(w⁰): the path sums of the ball, and λ.

    Statement: L(R) = scale Σ A_n² + √(2 scale E_λ(w⁰)) √(Σ B_n²) + λ.
    Proof: such w lie in the ball of radius R, E ≤ E_λ ≤ E_λ(w⁰) there, and `sublevel_hessian_bound`.

    Args:
        sums: of `ball_path_sums` at R = √(2E_λ(w⁰)/λ).
        initial_objective: E_λ(w⁰) ≥ 0.
        weight_decay: λ > 0.
        scale: 1/N for a mean over N samples.
    """
    (lam,) = floats(weight_decay)
    reject("weight_decay", lam, lam <= 0, "weight_decay > 0")
    return sublevel_hessian_bound(sums, initial_objective, scale) + lam
