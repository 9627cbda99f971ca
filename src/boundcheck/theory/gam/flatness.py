"""What holds between zeroth-order flatness R⁰, first-order flatness R¹, the gradient and the radius, for any loss.

    R⁰_ρ(θ) = max_{‖ε‖≤ρ} L(θ+ε) − L(θ),    R¹_ρ(θ) = ρ max_{‖ε‖≤ρ} ‖∇L(θ+ε)‖,

with the Euclidean norm over all p parameters. Both have the unit of the loss (ρ has that of θ). The statements are
derived here, from the two definitions of Zhang et al. 2023 (arXiv:2303.03108); `boundcheck.theory.gam.curvature` holds
the statements of the paper itself. Numbers and arrays broadcast; NaN in gives NaN out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


def zeroth_order_flatness_integral_bound(radii: npt.ArrayLike, max_gradient_norms: npt.ArrayLike) -> FloatArray:
    """Upper bound on R⁰ at every radius of a grid, sharper than R¹.

    Statement: R⁰_ρ(θ) ≤ ∫₀^ρ m(s) ds ≤ ρ m(ρ) = R¹_ρ(θ), where m(s) = max_{‖ε‖≤s} ‖∇L(θ+ε)‖, for L ∈ C¹.
    Proof: on the segment to the maximiser, L(θ+ε) − L(θ) = ∫₀¹ ∇L(θ+tε)ᵀε dt ≤ ∫₀^‖ε‖ m(s) ds.
    The integral is replaced by its upper sum Σ (ρᵢ − ρᵢ₋₁) m(ρᵢ), ρ₀ = 0, which no grid makes smaller than the
    integral, since m cannot decrease, nor larger than R¹. Attained, as the grid becomes fine, by a quadratic whose
    gradient is along the top eigenvector.

    Args:
        radii: ρ₁ < ρ₂ < ... (..., k), > 0.
        max_gradient_norms: m at these radii, (..., k). A running maximum is taken: a smaller ball lies in a larger one.

    Returns:
        (..., k): the bound on R⁰ at each radius, in units of the loss.

    Raises:
        ValueError: radii that are not positive, or do not increase.
    """
    radii, norms = floats(radii, max_gradient_norms)
    widths = np.diff(radii, prepend=0.0)
    reject("radii", radii, widths <= 0, "positive and increasing")
    return np.cumsum(widths * np.maximum.accumulate(norms, -1), -1)


def convex_first_order_flatness_bound(zeroth_order_flatness_at_double_radius: npt.ArrayLike) -> FloatArray:
    """Upper bound on R¹ at a minimiser of a convex loss: there R⁰ and R¹ carry the same information.

    Statement: R¹_ρ(θ*) ≤ R⁰_2ρ(θ*).
    Assumptions: L convex and C¹, ∇L(θ*) = 0.
    Proof: let ‖∇L‖ be largest at θ' in the ball of radius ρ and u its direction there. By convexity
    L(θ'+ρu) ≥ L(θ') + ρ‖∇L(θ')‖ ≥ L(θ*) + R¹_ρ(θ*), and θ'+ρu lies in the ball of radius 2ρ.
    Exactly 2 R¹_ρ on a quadratic; attained in the limit by a loss that is flat up to ρ and linear beyond.

    Args:
        zeroth_order_flatness_at_double_radius: R⁰_2ρ(θ*), in units of the loss.

    Returns:
        The bound on R¹_ρ(θ*), in units of the loss.
    """
    return floats(zeroth_order_flatness_at_double_radius)[0][()]


def first_order_flatness_bounds(
    gradient_norm: npt.ArrayLike, gradient_lipschitz: npt.ArrayLike, rho: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Bounds on R¹ from the gradient at the centre and the smoothness alone.

    Statement: ρ‖g‖ ≤ R¹_ρ(θ) ≤ ρ(‖g‖ + γ₁ρ), g = ∇L(θ).
    Assumptions: ∇L is γ₁-Lipschitz on the ball; on a quadratic γ₁ = ‖∇²L‖₂.
    Proof: the centre lies in the ball; triangle inequality. The upper end is attained by a quadratic with g along
    the top eigenvector, the lower end by a linear loss.

    Args:
        gradient_norm: ‖∇L(θ)‖, loss per unit of θ.
        gradient_lipschitz: γ₁, loss per squared unit of θ.
        rho: radius ρ ≥ 0, in units of θ.

    Returns:
        (lower, upper), in units of the loss.

    Raises:
        ValueError: a negative radius.
    """
    gradient_norm, gradient_lipschitz, rho = floats(gradient_norm, gradient_lipschitz, rho)
    reject("rho", rho, rho < 0, ">= 0")
    lower = rho * gradient_norm
    return lower, lower + gradient_lipschitz * rho**2


def first_order_excess_limit(hessian: npt.ArrayLike, gradient: npt.ArrayLike) -> FloatArray:
    """What (R¹_ρ − ρ‖g‖)/ρ² becomes as ρ → 0: not the sharpness, unless the gradient is zero or along v₁.

    Statement: (R¹_ρ(θ) − ρ‖g‖)/ρ² → ‖Hĝ‖, ĝ = g/‖g‖, where g ≠ 0; → ‖H‖₂ where g = 0; the error is O(ρ).
    Assumptions: L twice differentiable at θ with H = ∇²L(θ) (Lipschitz around θ for the O(ρ)).
    Proof: ‖∇L(θ+δ)‖ = ‖g‖ + ĝᵀHδ + O(‖δ‖²) for g ≠ 0, largest at δ = ρ Hĝ/‖Hĝ‖; ‖Hδ‖ + O(‖δ‖²) for g = 0.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).

    Returns:
        (...): the limit, loss per squared unit of θ.
    """
    hessian, gradient = floats(hessian, gradient)
    norm = np.linalg.norm(gradient, axis=-1)
    unit = gradient / np.where(norm > 0, norm, 1.0)[..., None]  # (..., p)
    along_gradient = np.linalg.norm((hessian @ unit[..., None])[..., 0], axis=-1)
    return np.where(norm == 0, np.linalg.norm(hessian, 2, axis=(-2, -1)), along_gradient)[()]


def scaling_exponent(radii: npt.ArrayLike, flatness: npt.ArrayLike) -> FloatArray:
    """The exponent q of flatness ~ ρ^q: the least-squares slope of log flatness against log ρ.

    Statement: R¹ has q ≥ 1 between any two radii, since R¹/ρ is a maximum over a growing ball. On a quadratic also
    q ≤ 2: q → 1 for ρ ≪ ‖g‖/‖H‖₂, where the gradient dominates, and q = 2 at a minimum, for R⁰ and R¹ alike.
    Proof of q ≤ 2: where ‖g+Hδ‖ is largest on a sphere, gᵀHδ ≥ 0 (else take −δ), so for c ≥ 1
    ‖g+cHδ‖² = ‖g‖² + 2c gᵀHδ + c²‖Hδ‖² ≤ c²‖g+Hδ‖²: R¹/ρ² cannot increase with ρ.

    Args:
        radii: ρ (..., k), > 0, at least two different ones.
        flatness: R⁰ or R¹ at these radii, (..., k), in units of the loss.

    Returns:
        (...): q; NaN where a flatness is not positive.

    Raises:
        ValueError: radii that are not positive, or only one.
    """
    radii, flatness = floats(radii, flatness)
    reject("radii", radii, radii <= 0, "> 0")
    reject("radii", np.ptp(radii, -1), np.ptp(radii, -1) == 0, "at least two different radii")
    x = np.log(radii)
    x = x - x.mean(-1, keepdims=True)
    y = np.log(np.where(flatness > 0, flatness, np.nan))
    return (x * y).sum(-1) / (x * x).sum(-1)


def ripple_flatness(
    height: npt.ArrayLike, wavenumber: npt.ArrayLike, rho: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """R⁰ and R¹ at the minimum x = 0 of L(x) = c (1 − cos kx)/2: ripples that R⁰ cannot tell apart.

    Statement: R⁰ = c sin²(k min(ρ, π/k)/2) and R¹ = ρ (ck/2) sin(k min(ρ, π/2k)). Once ρ ≥ π/k, R⁰ = c for every k,
    whereas R¹ = ρck/2 grows with the frequency.
    Proof: L increases on [0, π/k] and |L'(x)| = (ck/2)|sin kx| on [0, π/2k].

    Args:
        height: c, in units of the loss.
        wavenumber: k > 0, per unit of x.
        rho: radius ρ ≥ 0, in units of x.

    Returns:
        (R⁰, R¹), in units of the loss.

    Raises:
        ValueError: a wavenumber that is not positive, or a negative radius.
    """
    height, wavenumber, rho = floats(height, wavenumber, rho)
    reject("wavenumber", wavenumber, wavenumber <= 0, "> 0")
    reject("rho", rho, rho < 0, ">= 0")
    phase = wavenumber * rho
    zeroth = height * np.sin(np.minimum(phase, np.pi) / 2) ** 2
    return zeroth, rho * height * wavenumber / 2 * np.sin(np.minimum(phase, np.pi / 2))


def rescaled_radius(rho: npt.ArrayLike, scale: npt.ArrayLike) -> FloatArray:
    """The radius at cθ at which a scale-invariant loss has the flatness that it has at θ and ρ.

    Statement: if L(cθ) = L(θ) for every c > 0 (weights followed by a normalisation), R⁽ⁱ⁾_cρ(cθ) = R⁽ⁱ⁾_ρ(θ), i = 0, 1.
    Proof: θ' ↦ cθ' maps the one ball onto the other, keeps L, and divides ∇L by c, which the factor ρ of R¹ makes good.
    So flatness at a fixed ρ compares scales, not shapes; at ρ = κ‖θ‖ it is invariant. Networks that are rescaled
    layer by layer (Dinh et al. 2017) are not covered.

    Args:
        rho: radius ρ at θ, in units of θ.
        scale: c > 0.

    Returns:
        cρ, in units of θ.

    Raises:
        ValueError: a scale that is not positive.
    """
    rho, scale = floats(rho, scale)
    reject("scale", scale, scale <= 0, "> 0")
    return scale * rho


def rescaled_sharpness(sharpness: npt.ArrayLike, scale: npt.ArrayLike) -> FloatArray:
    """The sharpness of a scale-invariant loss at cθ, from that at θ.

    Statement: if L(cθ) = L(θ) for every c > 0, λ_max(∇²L(cθ)) = λ_max(∇²L(θ))/c².
    Proof: differentiate L(cθ) = L(θ) twice with respect to θ.

    Args:
        sharpness: λ_max at θ, loss per squared unit of θ.
        scale: c > 0.

    Returns:
        λ_max/c².

    Raises:
        ValueError: a scale that is not positive.
    """
    sharpness, scale = floats(sharpness, scale)
    reject("scale", scale, scale <= 0, "> 0")
    return sharpness / scale**2


def relative_sharpness(sharpness: npt.ArrayLike, parameter_norm: npt.ArrayLike) -> FloatArray:
    """Sharpness that a scale-invariant loss keeps under rescaling: λ_max ‖θ‖², in units of the loss.

    Proof: `rescaled_sharpness`, and ‖cθ‖² = c²‖θ‖².

    Args:
        sharpness: λ_max at θ, loss per squared unit of θ.
        parameter_norm: ‖θ‖ over the scale-invariant parameters.

    Returns:
        λ_max ‖θ‖².
    """
    sharpness, parameter_norm = floats(sharpness, parameter_norm)
    return sharpness * parameter_norm**2
