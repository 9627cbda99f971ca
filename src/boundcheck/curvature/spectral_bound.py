"""Upper bounds on the norms of many matrices: certified, for a fraction of what all their eigenvalues cost."""

from __future__ import annotations

import torch
from torch import Tensor

from boundcheck.curvature.krylov import Krylov, run

EXACT_SIZE = 128  # matrices up to this size: all eigenvalues are as cheap
NUM_STEPS = 24
SLACK = 1e-3
EPSILON = torch.finfo(torch.float64).eps


def norm_bound(matrices: Tensor, negligible: Tensor | None = None) -> Tensor:
    """Upper bound (...) on ‖X‖₂ of matrices (..., m, n), as close as `largest_eigenvalue_bound`; infinite if X is.

    Args:
        matrices: X, float64.
        negligible: (...) what of large matrices needs no better bound: ‖X‖_F serves where it is at most that.
    """
    if negligible is None or min(matrices.shape[-2:]) <= EXACT_SIZE:
        gram = matrices @ matrices.mT if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT @ matrices
        return largest_eigenvalue_bound(gram).sqrt()
    bounds = torch.linalg.matrix_norm(matrices)
    wanted = ~(bounds <= negligible)
    if wanted.any():
        bounds[wanted] = norm_bound(matrices[wanted])
    return bounds


def symmetric_norm_bound(matrices: Tensor, negligible: Tensor | None = None) -> Tensor:
    """Upper bound (...) on ‖A‖₂ of symmetric matrices (..., m, m); as `norm_bound`."""
    if matrices.shape[-1] > EXACT_SIZE:
        return norm_bound(matrices, negligible)
    ends = torch.linalg.eigvalsh((matrices + matrices.mT) / 2)[..., [0, -1]]
    return ends.abs().amax(-1)


def largest_eigenvalue_bound(matrices: Tensor) -> Tensor:
    """Upper bound (...) on λ_max(G) of positive semidefinite matrices (..., m, m), at most a thousandth too large.

    Statement: where sI − G has a Cholesky factor, λ_max(G) ≤ s; where rounded arithmetic finds one, it is at most
    s (1 + m(m+2)ε), for the factor R̃ has a backward error of at most (m+1)ε‖R̃‖²_F ≤ (m+1)ε · ms.
    What is tried is s = (1 + 10⁻³) θ, with θ ≤ λ_max the largest Ritz value of some Lanczos steps. Where that has no
    factor, and in matrices of up to `EXACT_SIZE` rows, all eigenvalues are computed.

    Returns: float64; infinite where a matrix is not finite.

    References: Rump 2006, Verification of positive definiteness, BIT 46.
    """
    size = matrices.shape[-1]
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
    finite = trace.isfinite()  # and so is every entry, for |G_ij|² ≤ G_ii G_jj
    flat = (matrices if finite.all() else torch.where(finite[..., None, None], matrices, 0.0)).view(-1, size, size)
    if size <= EXACT_SIZE:
        largest = torch.linalg.eigvalsh(flat)[:, -1].clamp_min(0)
    else:
        trial = (1 + SLACK) * _ritz_values(flat)  # (b,)
        shifted = -flat
        shifted.diagonal(dim1=-2, dim2=-1).add_(trial.unsqueeze(-1))
        certified = torch.linalg.cholesky_ex(shifted).info == 0
        largest = trial * (1 + size * (size + 2) * EPSILON)
        if not certified.all():
            largest[~certified] = torch.linalg.eigvalsh(flat[~certified])[:, -1].clamp_min(0)
    return torch.where(finite, largest.view(finite.shape), torch.inf)


def _ritz_values(matrices: Tensor) -> Tensor:
    """The largest Ritz value (b,) of Lanczos steps on semidefinite matrices (b, m, m): an estimate, in float32."""
    scale = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)  # ≥ λ_max
    scale = torch.where(scale > 0, scale, 1.0)
    small = (matrices / scale[:, None, None]).float()
    start = torch.randn(matrices.shape[-1], generator=torch.Generator().manual_seed(0)).to(small)
    krylov = Krylov(
        lambda vectors: (vectors.unsqueeze(1) @ small).squeeze(1),  # rows times matrices: faster than columns
        start.expand(len(matrices), -1),
        NUM_STEPS,
        reorthogonalise=False,
    )
    run(krylov)  # where a chain breaks down, zeros follow: no eigenvalue is smaller
    return scale * torch.linalg.eigvalsh(krylov.rayleigh)[:, -1].to(scale)
