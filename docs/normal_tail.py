#!/usr/bin/env python3
"""Fits the polynomial of `normal` in the shaders and of `normal_tail` in src/real.rs.

Phi(-x) = e^(-x^2/2) R(t) with t = 1 / (1 + p x), as in Abramowitz and Stegun 7.1.26, but R has degree 9 and is fitted for the
smallest relative error over 0 <= x <= 13.5, by reweighted least squares (Lawson). Prints p, the error and the coefficients of
t^1 to t^9.

    python3 normal_tail.py          (needs NumPy and nothing else)
"""

import math

import numpy as np

DEGREE, LAST, POINTS = 9, 13.5, 4000


def scaled_tail(x):
    """e^(x^2/2) Phi(-x); far out by Laplace's continued fraction, where erfc would underflow."""
    if x < 5.0:
        return 0.5 * math.erfc(x / math.sqrt(2.0)) * math.exp(x * x / 2.0)
    fraction = 0.0
    for k in range(200, 0, -1):
        fraction = k / (x + fraction)
    return 1.0 / (math.sqrt(2.0 * math.pi) * (x + fraction))


def fit(p, points):
    least = 1.0 / (1.0 + p * LAST)
    angles = (np.arange(points) + 0.5) / points * np.pi
    t = (1.0 + least) / 2.0 + (1.0 - least) / 2.0 * np.cos(angles)
    r = np.array([scaled_tail(x) for x in (1.0 / t - 1.0) / p])
    powers = np.stack([t**k for k in range(1, DEGREE + 1)], axis=1) / r[:, None]
    weights = np.ones(points)
    for _ in range(60):
        root = np.sqrt(weights)
        coefficients, *_ = np.linalg.lstsq(powers * root[:, None], root, rcond=None)
        errors = np.abs(powers @ coefficients - 1.0)
        weights *= errors
        weights /= weights.sum()
    return errors.max(), coefficients


if __name__ == "__main__":
    error, p = min((fit(p, 1000)[0], p) for p in np.arange(0.15, 0.6, 0.01))
    error, coefficients = fit(p, POINTS)
    print(f"p = {p:.2f}, relative error {error:.2e}")
    print([float(f"{c:.9g}") for c in coefficients])
