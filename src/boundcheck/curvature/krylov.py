"""An orthonormal Krylov basis and what a symmetric operator does to it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from boundcheck.curvature.operator import SymmetricOperator


class KrylovBasis:
    """Orthonormal rows q_0 ... q_{m-1} of Q, with every coefficient q_i·A q_j that was seen while Q grew.

    Aq_j = Σ_{i≤j} c_ij q_i + β_j u_j, where u_j = q_{j+1} while a chain goes on, and a vector outside the basis at the
    end of one. So ‖Av − λv‖ for v = Qᵀs follows from the small numbers c and β, rounding and asymmetry of A included.
    """

    def __init__(self, operator: SymmetricOperator) -> None:
        self._operator = operator
        self._rows = torch.empty(0, operator.size, dtype=operator.dtype, device=operator.device)
        self._coefficients = torch.zeros(0, 0, dtype=torch.float64)  # c, and β below the diagonal
        self._ends: list[tuple[int, float]] = []  # (j, β_j) of the chains that ended
        self._rest = torch.empty(0)  # β u of the newest row
        self._beta = math.inf
        self._is_start = True  # the newest row begins a chain
        self._num_rows = 0
        self.num_matvecs = 0  # rows whose product is known

    @property
    def rayleigh(self) -> Tensor:
        """QAQᵀ (m, m), symmetric, float64."""
        m = self.num_matvecs
        upper = self._coefficients[:m, :m].triu()
        return upper + upper.triu(1).mT

    @property
    def rows(self) -> Tensor:
        """Q (m, p)."""
        return self._rows[: self.num_matvecs]

    @property
    def has_broken_down(self) -> bool:
        """The rows span an invariant subspace, to rounding."""
        return self._beta <= self._rounding

    def add(self, vector: Tensor) -> None:
        """Append vector/‖vector‖ as the first row of a chain, made orthogonal to the basis."""
        vector = vector.to(self._operator.device, self._operator.dtype, copy=True)
        norm = self._orthogonalise(vector, passes=2)[1]
        self._append(vector, norm)
        self._is_start = True

    def expand(self) -> None:
        """Spend one product: A on the newest row, its coefficients and its rest."""
        j = self.num_matvecs
        product = self._operator.matvec(self._rows[j])
        local = torch.zeros(j + 1, dtype=torch.float64)
        if j and not self._is_start:  # three-term recurrence first: then one full pass is nearly always enough
            local[j - 1] = self._beta
            product.sub_(self._rows[j - 1], alpha=self._beta)
        local[j] = torch.dot(self._rows[j], product)
        product.sub_(self._rows[j], alpha=local[j].item())
        correction, self._beta = self._orthogonalise(product)
        if not math.isfinite(self._beta):
            raise FloatingPointError("matvec: the product has entries that are not finite")
        self._coefficients[: j + 1, j] = local + correction
        self._rest = product
        self.num_matvecs += 1

    def extend(self) -> None:
        """Go on with the chain: the normalised rest is the next row."""
        j = self.num_matvecs - 1
        self._append(self._rest, self._beta)
        self._coefficients[j + 1, j] = self._beta
        self._is_start = False

    def restart(self, vector: Tensor) -> None:
        """End the chain and begin another from `vector`."""
        self._ends.append((self.num_matvecs - 1, self._beta))
        self.add(vector)

    def residuals(self, values: Tensor, vectors: Tensor) -> Tensor:
        """Bounds on ‖Av − λv‖ for λ = values (k,) and v = Qᵀ vectors (m, k): (k,), rounding included.

        ‖Av − λv‖² = ‖Cs − λs‖² + ‖Σ_j s_j β_j u_j‖² over the chain ends j, with the u_j outside the basis. What an
        earlier end has inside the rows that came later is known by symmetry: ⟨q_i, β_j u_j⟩ = c_ji for i > j.
        """
        m = self.num_matvecs
        inside, outside = self._coefficients[:m, :m].clone(), torch.zeros_like(vectors[0])
        for j, beta in [*self._ends, (m - 1, self._beta)]:
            inside[j + 1 :, j] = inside[j, j + 1 :]
            left = max(beta**2 - float(inside[j, j + 1 :].square().sum()), 0.0) ** 0.5
            outside += left * vectors[j].abs()
        return (
            torch.hypot(torch.linalg.vector_norm(inside @ vectors - vectors * values, dim=0), outside) + self._rounding
        )

    def lift(self, vectors: Tensor) -> Tensor:
        """Columns (m, k) in the basis -> unit vectors (k, p)."""
        lifted = vectors.mT.to(self._rows) @ self.rows
        return lifted / torch.linalg.vector_norm(lifted, dim=1, keepdim=True)

    @property
    def _rounding(self) -> float:
        m = self.num_matvecs
        return 10 * m * torch.finfo(self._rows.dtype).eps * float(torch.linalg.matrix_norm(self._coefficients[:m, :m]))

    def _orthogonalise(self, vector: Tensor, passes: int = 1) -> tuple[Tensor, float]:
        """Remove from `vector`, in place, its part in the basis; the coefficients removed and the norm left."""
        rows = self._rows[: self._num_rows]
        removed = torch.zeros(self._num_rows, dtype=torch.float64)
        norm = torch.linalg.vector_norm(vector).item()
        done = 0
        while True:
            coefficients = rows @ vector  # (m,)
            vector.addmv_(rows.mT, coefficients, alpha=-1)
            removed += coefficients.to("cpu", torch.float64)
            before, norm = norm, torch.linalg.vector_norm(vector).item()
            done += 1
            if done >= passes and (norm > 0.7 * before or done == 3):
                return removed, norm

    def _append(self, vector: Tensor, norm: float) -> None:
        if self._num_rows == len(self._rows):
            capacity = min(max(32, 2 * len(self._rows)), self._operator.size)
            rows = self._rows.new_empty(capacity, self._operator.size)
            rows[: len(self._rows)] = self._rows
            coefficients = self._coefficients.new_zeros(capacity, capacity)
            coefficients[: len(self._rows), : len(self._rows)] = self._coefficients
            self._rows, self._coefficients = rows, coefficients
        torch.div(vector, norm, out=self._rows[self._num_rows])
        self._num_rows += 1
