"""Mathematics of a function L(theta): Hessian-vector products, Lanczos, flatness. Knows no experiment."""
