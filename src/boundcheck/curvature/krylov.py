"""Lanczos on several symmetric operators at once: the kernel behind every eigenvalue, density and trace here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Krylov:
    """For each of k symmetric operators A an orthonormal basis Q, and every coefficient q_i·A q_j that was seen.

    A q_j = Σ_{i≤j} c_ij q_i + β_j u_j, where u_j = q_{j+1} while a chain goes on, and a vector outside the basis at the
    end of a chain. So QAQᵀ, and ‖Av − λv‖ for v = Qᵀs, follow from the small numbers c and β, rounding and asymmetry of
    A included. These numbers are kept in float64 on the CPU, the vectors where `start` is.

    Args:
        matvec: v (k, p) -> (A_1 v_1 … A_k v_k) (k, p), a new tensor that may be overwritten.
        start: first vectors (k, p), none zero.
        max_products: at most so many products of all operators, and at most p.
        reorthogonalise: keep all rows and make each new one orthogonal to them. Otherwise only the last two rows are
            kept, by the three-term recurrence: the coefficients then serve a quadrature or the largest Ritz value, but
            converged eigenvalues appear in copies, and there are no residuals and no vectors.

    Attributes:
        num_products: m, the number of rows with their products.
        beta: (k,) float64, norm of what the newest product left outside the basis.
        rounding: (k,) float64, what rounding may have added to a residual.
        has_broken_down: (k,) whether the rows span an invariant subspace, to rounding.

    References: Parlett 1998, The symmetric eigenvalue problem, ch. 13; Daniel, Gragg, Kaufman, Stewart 1976 (when to
        orthogonalise twice); Wu, Simon 2000 (restarting).
    """

    def __init__(
        self, matvec: Callable[[Tensor], Tensor], start: Tensor, max_products: int, reorthogonalise: bool = True
    ) -> None:
        k, p = start.shape
        self._matvec, self._limit, self._reorthogonalise = matvec, min(max_products, p), reorthogonalise
        self._rows = start.new_empty(k, 0, p)
        self._coefficients = torch.zeros(k, 0, 0, dtype=torch.float64)  # c, and β below the diagonal
        self._ends: list[tuple[int, Tensor, Tensor]] = []  # (j, which chains ended with row j, their β_j)
        self._link = start.new_zeros(k, 1)  # β of the row before the newest; 0 at the start of a chain
        self._previous = torch.zeros_like(start)
        self._rest = torch.empty_like(start)  # β u of the newest row
        self._squares = self.rounding = self.beta = torch.zeros(k, dtype=torch.float64)
        self.has_broken_down = torch.zeros(k, dtype=torch.bool)
        self.num_products = 0
        self._append(start / torch.linalg.vector_norm(start, dim=1, keepdim=True))

    @property
    def size(self) -> int:
        """The dimension p of the space."""
        return self._rest.shape[1]

    @property
    def is_full(self) -> bool:
        """Whether no further product is allowed."""
        return self.num_products == self._limit

    @property
    def rayleigh(self) -> Tensor:
        """QAQᵀ (k, m, m), symmetric, float64."""
        upper = self._seen().triu()
        return upper + upper.triu(1).mT

    @property
    def rows(self) -> Tensor:
        """Q (k, m, p)."""
        return self._rows[:, : self.num_products]

    def expand(self) -> None:
        """Spend one product: A on the newest rows, the coefficients and what is left outside the basis."""
        j = self.num_products
        product = self._matvec(self._newest)
        column = self._coefficients[:, : j + 1, j]  # (k, j + 1)
        if j:  # the three-term recurrence first: then one full pass is nearly always enough
            product.addcmul_(self._previous, self._link, value=-1)
            column[:, j - 1] = self._coefficients[:, j, j - 1]
        alpha = (self._newest * product).sum(-1)
        product.addcmul_(self._newest, alpha[:, None], value=-1)
        column[:, j] = alpha
        if self._reorthogonalise:
            removed, self.beta = _remove(product, self._rows[:, : j + 1])
            column += removed
        else:
            self.beta = _norms(product)
        self._rest, self.num_products = product, j + 1
        self._squares = self._squares + column.square().sum(-1)
        size = (self._squares + self.beta.square()).sqrt()
        self.rounding = size * (10 * self.num_products * torch.finfo(product.dtype).eps)
        self.has_broken_down = self.beta <= self.rounding

    def restarted(self, values: Tensor, vectors: Tensor, residuals: Tensor, fresh: Tensor, max_products: int) -> Krylov:
        """A basis that begins with Ritz pairs of this one, and goes on with a new chain orthogonal to them.

        To the new basis each pair is a chain that has ended: what A leaves of it outside is its residual. The pairs
        count among its products, though they cost none.

        Args:
            values: λ (k, n).
            vectors: columns (k, m, n) in this basis.
            residuals: (k, n).
            fresh: begins the new chain (k, p).
            max_products: at most so many further products.
        """
        locked, pairs = values.shape[1], self.lift(vectors)
        krylov = Krylov(self._matvec, pairs[:, 0], locked + max_products)
        for j in range(locked):
            krylov.num_products, krylov.beta = j + 1, residuals[:, j]
            krylov._coefficients[:, j, j] = values[:, j]
            krylov._squares = krylov._squares + values[:, j].square()
            krylov._ends.append((j, torch.ones_like(self.has_broken_down), residuals[:, j]))
            krylov._append(pairs[:, j + 1] if j + 1 < locked else krylov._new_direction(fresh))
        return krylov

    def extend(self, ended: Tensor, fresh: Callable[[], Tensor] | None = None) -> None:
        """Append the normalised rest as the next row; begin a new chain where the old one has ended.

        Args:
            ended: (k,) bool.
            fresh: draws vectors (k, p) for new chains. Without it, and where nothing is left, the row is zero.
        """
        j, beta = self.num_products - 1, self.beta
        self._previous, self._link = self._newest, beta.to(self._rest)[:, None]
        if ended.any():
            self._ends.append((j, ended, torch.where(ended, beta, 0.0)))
            beta = torch.where(ended, 0.0, beta)
            mask = ended.to(self._rest.device)[:, None]
            other = torch.zeros_like(self._rest) if fresh is None else self._new_direction(fresh())
            row = torch.where(mask, other, self._rest / self._link)
            self._link = torch.where(mask, 0.0, self._link)
        else:
            row = self._rest.div_(self._link)
        self._append(row)
        self._coefficients[:, j + 1, j] = beta
        self._squares = self._squares + beta.square()

    def residuals(self, values: Tensor, vectors: Tensor) -> Tensor:
        """Bounds on ‖Av − λv‖ for λ = values (k, n) and v = Qᵀ vectors (k, m, n): (k, n), rounding included.

        ‖Av − λv‖² = ‖Cs − λs‖² + ‖Σ_j s_j β_j u_j‖² over the chain ends j, with the u_j outside the basis. What an
        earlier end has inside the rows that came later is known by symmetry: ⟨q_i, β_j u_j⟩ = c_ji for i > j.
        """
        seen = self._seen()
        inside, outside = seen.clone(), self.beta[:, None] * vectors[:, -1].abs()  # (k, m, m), (k, n)
        for j, ended, beta in self._ends:
            later = torch.where(ended[:, None], seen[:, j, j + 1 :], 0.0)
            inside[:, j + 1 :, j] += later  # where a chain ended, nothing is there yet
            left = (beta.square() - later.square().sum(-1)).clamp_min(0).sqrt()
            outside += left[:, None] * vectors[:, j].abs()
        norms = torch.linalg.vector_norm(inside @ vectors - vectors * values[:, None], dim=1)
        return torch.hypot(norms, outside) + self.rounding[:, None]

    def lift(self, vectors: Tensor) -> Tensor:
        """Columns (k, m, n) in the basis -> unit vectors (k, n, p)."""
        lifted = vectors.mT.to(self._rows) @ self.rows
        return lifted / torch.linalg.vector_norm(lifted, dim=-1, keepdim=True)

    def _seen(self) -> Tensor:
        return self._coefficients[:, : self.num_products, : self.num_products]

    def _new_direction(self, vectors: Tensor) -> Tensor:
        vectors = vectors.to(self._rest, copy=True)
        for _ in range(2):
            norms = _remove(vectors, self.rows)[1]
        return vectors.div_(norms.to(vectors)[:, None])

    def _append(self, row: Tensor) -> None:
        """Make `row` (k, p) the newest, where there is room for its coefficients."""
        j = self.num_products
        size = self._coefficients.shape[1]
        if j == size:
            capacity = min(max(16, 2 * size), self._limit)
            self._coefficients = torch.nn.functional.pad(self._coefficients, (0, capacity - size) * 2)
            if self._reorthogonalise:
                rows = self._rows.new_empty(len(row), capacity, row.shape[1])
                rows[:, :size] = self._rows
                self._rows = rows
        if self._reorthogonalise:
            self._rows[:, j] = row
            row = self._rows[:, j]
        self._newest = row


def run(
    krylov: Krylov,
    stop: Callable[[Krylov], bool] = lambda _: False,
    fresh: Callable[[], Tensor] | None = None,
) -> bool:
    """Spend products until a stop rule is met or no further product is allowed.

    Args:
        krylov: bases that begin.
        stop: asked after every product.
        fresh: draws vectors (k, p), with which a chain that has broken down goes on.

    Returns: whether the stop rule was met in the end.
    """
    while True:
        krylov.expand()
        is_met = stop(krylov)
        if krylov.is_full or is_met:
            return is_met
        krylov.extend(krylov.has_broken_down, fresh)


def _remove(vectors: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Make `vectors` (k, p) orthogonal to `rows` (k, j, p), in place.

    Returns: the coefficients removed (k, j), and the norms left (k,); float64, on the CPU.
    """
    removed, norms = torch.zeros((), dtype=torch.float64), _norms(vectors)
    for _ in range(3):
        coefficients = vectors.unsqueeze(1) @ rows.mT  # (k, 1, j): faster than rows times columns
        vectors.unsqueeze(1).baddbmm_(coefficients, rows, alpha=-1)
        removed = removed + _numbers(coefficients.squeeze(1))
        before, norms = norms, _norms(vectors)
        if not (norms < 0.7 * before).any():  # little was removed, so little of it was rounding
            break
    return removed, norms


def _norms(vectors: Tensor) -> Tensor:
    return _numbers(torch.linalg.vector_norm(vectors, dim=1))


def _numbers(values: Tensor) -> Tensor:
    return values.to("cpu", torch.float64)
