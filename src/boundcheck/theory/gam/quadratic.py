"""Zeroth- and first-order flatness of a quadratic loss in closed form: the numbers that every estimator must reproduce.

L(θ+δ) = L(θ) + gᵀδ + ½ δᵀHδ, with H symmetric, not necessarily positive. Both maxima over the ball ‖δ‖ ≤ ρ are
trust-region problems, solved in the eigenbasis of H by one scalar equation ("secular") in the multiplier μ. Leading
axes are problems solved at once: hessian (..., p, p), gradient (..., p), rho (...) broadcast. Derived here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boundcheck.theory.arguments import FloatArray, floats, reject


class BallMaximum(NamedTuple):
    """A flatness (...), in units of the loss, and the displacement δ* (..., p), ‖δ*‖ ≤ ρ, that attains it."""

    flatness: FloatArray
    displacement: FloatArray


def zeroth_order_flatness(hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike) -> BallMaximum:
    """R⁰_ρ = max_{‖δ‖≤ρ} gᵀδ + ½ δᵀHδ = ½ (gᵀδ* + μρ²), where (μI − H) δ* = g.

    μ ≥ max(λ₁, 0) makes ‖δ*‖ = ρ. Hard case: g has no component along v₁ and δ* is too short at μ = λ₁; then τv₁ fills
    it up. For H negative definite the maximum may be inside the ball, with μ = 0.
    At a minimum R⁰ = ½λ₁ρ²; with g = λ₁s v₁ it is λ₁(|s|ρ + ½ρ²).

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ > 0, (...).

    Returns:
        R⁰ and its maximiser.

    Raises:
        ValueError: a radius that is not positive.
    """
    eigenvalues, vectors, slope, rho = _eigen_coordinates(hessian, gradient, rho)
    delta, multiplier = _ball_maximiser(eigenvalues, slope, rho)
    value = ((slope * delta).sum(-1) + multiplier * rho**2) / 2
    return BallMaximum(value, apply(vectors, delta))


def first_order_flatness(hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike) -> BallMaximum:
    """R¹_ρ = ρ max_{‖δ‖≤ρ} ‖g + Hδ‖ = ρ √(‖g‖² + (Hg)ᵀδ* + μρ²), where (μI − H²) δ* = Hg, μ ≥ ‖H‖₂², ‖δ*‖ = ρ.

    At a stationary point R¹ = ρ²‖H‖₂, twice R⁰ at a minimum; with g = λ₁s v₁, λ₁ = ‖H‖₂, it is ρλ₁(|s| + ρ).

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ > 0, (...).

    Returns:
        R¹ and its maximiser.

    Raises:
        ValueError: a radius that is not positive.
    """
    eigenvalues, vectors, coordinates, rho = _eigen_coordinates(hessian, gradient, rho)
    slope = eigenvalues * coordinates
    delta, multiplier = _ball_maximiser(eigenvalues**2, slope, rho)
    square = (coordinates**2).sum(-1) + (slope * delta).sum(-1) + multiplier * rho**2
    return BallMaximum(rho * np.sqrt(square), apply(vectors, delta))


def first_order_flatness_bound(zeroth_order_flatness: npt.ArrayLike) -> FloatArray:
    """Upper bound on R¹ of a convex quadratic at any point: R¹_ρ ≤ 2 R⁰_ρ, so the two penalties agree up to a factor 2.

    Assumptions: H positive semidefinite. Attained at the minimum. With R⁰ ≤ R¹: ½ ≤ R⁰/R¹ ≤ 1.
    Proof: for μ > λ₁ put Q = gᵀ(μI−H)⁻¹g. By weak duality R¹²/ρ² ≤ gᵀ μ²(μ²I−H²)⁻¹ g + μ²ρ² ≤ μQ + μ²ρ²
    ≤ (Q/ρ + μρ)², since μ/(μ+λ) ≤ 1 for λ ≥ 0; and Q + μρ² has the infimum 2 R⁰ over these μ.

    Args:
        zeroth_order_flatness: R⁰_ρ(θ), in units of the loss.

    Returns:
        The bound, in units of the loss.
    """
    return 2 * floats(zeroth_order_flatness)[0]


def zeroth_order_flatness_gradient(hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike) -> FloatArray:
    """∇R⁰_ρ(θ) = H δ*: by Danskin's theorem ∇L(θ+δ*) − ∇L(θ), where the maximiser δ* is unique.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ > 0, (...).

    Returns:
        (..., p), loss per unit of θ.
    """
    return apply(np.asarray(hessian), zeroth_order_flatness(hessian, gradient, rho).displacement)


def first_order_flatness_gradient(hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike) -> FloatArray:
    """∇R¹_ρ(θ) = ρ H g*/‖g*‖, g* = g + Hδ*: by Danskin's theorem, where the maximiser δ* is unique.

    Args:
        hessian: H (..., p, p), symmetric.
        gradient: g (..., p).
        rho: radius ρ > 0, (...).

    Returns:
        (..., p), loss per unit of θ; 0 where g* = 0.
    """
    hessian, gradient, rho = floats(hessian, gradient, rho)
    there = gradient + apply(hessian, first_order_flatness(hessian, gradient, rho).displacement)
    return rho[..., None] * apply(hessian, unit(there))


def apply(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """Matrix (..., p, p) times vector (..., p)."""
    return (matrix @ vector[..., None])[..., 0]


def unit(vector: FloatArray) -> FloatArray:
    """v/‖v‖ for vectors (..., p), however short; 0 for the zero vector."""
    largest = np.abs(vector).max(-1, keepdims=True)
    scaled = vector / np.where(largest == 0, 1.0, largest)  # the square of a short vector may be 0
    return scaled / np.where(largest == 0, 1.0, np.linalg.norm(scaled, axis=-1, keepdims=True))


def _eigen_coordinates(
    hessian: npt.ArrayLike, gradient: npt.ArrayLike, rho: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Eigenvalues (..., p), eigenvectors (..., p, p), gradient in their basis (..., p), radius (...)."""
    hessian, gradient, rho = floats(hessian, gradient, rho)
    reject("rho", rho, rho <= 0, "> 0")
    eigenvalues, vectors = np.linalg.eigh(hessian)
    coordinates = apply(np.swapaxes(vectors, -1, -2), gradient)
    shape = np.broadcast_shapes(coordinates.shape, (*rho.shape, 1))
    return np.broadcast_to(eigenvalues, shape), vectors, np.broadcast_to(coordinates, shape), rho


def _ball_maximiser(curvature: FloatArray, slope: FloatArray, rho: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Maximiser δ (..., p) and multiplier μ (...) of bᵀδ + ½ Σ cᵢδᵢ² over ‖δ‖ ≤ ρ.

    δᵢ = bᵢ/(μ − cᵢ); ‖δ‖ falls as μ grows from its least value max(c₁, 0), and is at most ρ at √p max|bᵢ|/ρ above it.
    Bisection on that shift of μ, in which differences cᵢ − c₁ are exact, until no float lies between its ends. The
    shift is counted in units of max|bᵢ|, so that it has all its digits however small b is.
    """
    top = curvature.max(-1)
    least = np.maximum(top, 0.0)
    largest = np.abs(slope).max(-1)
    largest = np.where(largest == 0, 1.0, largest)
    with np.errstate(over="ignore"):
        gap = (least[..., None] - curvature) / largest[..., None]  # (..., p), >= 0
    slope = slope / largest[..., None]

    def displacement(shift: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(slope == 0, 0.0, slope / (shift[..., None] + gap))

    def norm(shift: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            return np.linalg.norm(displacement(shift), axis=-1)

    short = norm(np.zeros_like(top)) <= rho  # the hard case, or a maximum inside the ball
    low, high = np.zeros_like(top), np.where(short, 0.0, np.sqrt(slope.shape[-1]) / rho)
    while True:
        middle = (low + high) / 2
        if not np.any((low < middle) & (middle < high)):
            break
        outside = norm(middle) > rho
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    delta = displacement(high)
    missing = np.sqrt(np.maximum(rho**2 - (delta**2).sum(-1), 0.0)) * (short & (top >= 0))
    first = np.arange(curvature.shape[-1]) == curvature.argmax(-1)[..., None]
    return delta + missing[..., None] * first, least + high * largest
