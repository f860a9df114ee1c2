#!/usr/bin/env python3
"""Writes golden.json, beside this script: what small networks compute, by NumPy in float64.

It is the batched form of the notes' equations, one matrix product a line, written apart from every line of Rust that
is tested against it. Inputs, targets, first parameters and learning rates are fractions with a power of two below and
few digits above, so that f32 holds them exactly and a backend can start from the very same numbers.

    python3 make_golden.py          (needs NumPy and nothing else)

Layout of the file: `cases` is a list; in each, `z`, `a`, `delta`, `w`, `b`, `nabla_w`, `nabla_b` are lists over the
layers after the input, `z`, `a` and `delta` with a row for each example, `w` and `nabla_w` as (out, in), that is w_jk.
`cost` and the gradients are means over the rows. `steps` holds the cost before, and the parameters after, each of
three steps of gradient descent on the same mini-batch; `cost_after` is the cost after the last of them.
"""

import json
import math
import pathlib
import re

import numpy as np

ROWS = 6
STEPS = 3


def fractions(count, start, factor):
    """`count` asymmetric multiples of 1/64 in [-0.75, 0.75]: no two in a row alike, and no generator to depend on."""
    return (((start + factor * np.arange(count)) % 97) - 48) / 64


def sigmoid(z):
    return np.exp(-np.logaddexp(0.0, -z))


def log_softmax(z):
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def elementwise(f):
    """A function of one number, over an array."""
    return np.vectorize(f, otypes=[np.float64])


def normal_distribution(z):
    return elementwise(lambda z: 0.5 * math.erfc(-z / math.sqrt(2.0)))(z)


def gelu_u(z):
    return math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)


def gelu_tanh_prime(z):
    t = np.tanh(gelu_u(z))
    return 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * math.sqrt(2.0 / math.pi) * (1.0 + 3 * 0.044715 * z**2)


ACTIVATION = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0.0, z, 0.0),
    "leaky-relu": lambda z: np.where(z > 0.0, z, z / 100),
    "elu": lambda z: np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0))),
    "gelu": lambda z: z * normal_distribution(z),
    "gelu-tanh": lambda z: 0.5 * z * (1.0 + np.tanh(gelu_u(z))),
    "silu": lambda z: z / (1.0 + np.exp(-z)),
    "softplus": lambda z: np.logaddexp(0.0, z),
    "identity": lambda z: z,
    "softmax": lambda z: np.exp(log_softmax(z)),
}

# As functions of z and a; softmax has none, since its outputs are not independent.
DERIVATIVE = {
    "sigmoid": lambda z, a: a * (1.0 - a),
    "tanh": lambda z, a: (1.0 - a) * (1.0 + a),
    "relu": lambda z, a: np.heaviside(z, 0.0),
    "leaky-relu": lambda z, a: np.where(z > 0.0, 1.0, 1 / 100),
    "elu": lambda z, a: np.exp(np.minimum(z, 0.0)),
    "gelu": lambda z, a: normal_distribution(z) + z * np.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi),
    "gelu-tanh": lambda z, a: gelu_tanh_prime(z),
    "silu": lambda z, a: sigmoid(z) * (1.0 + z * (1.0 - sigmoid(z))),
    "softplus": lambda z, a: sigmoid(z),
    "identity": lambda z, a: np.ones_like(z),
}


def feedforward(w, b, names, x):
    zs, activations = [], [x]
    for w_l, b_l, name in zip(w, b, names):
        zs.append(activations[-1] @ w_l.T + b_l)
        activations.append(ACTIVATION[name](zs[-1]))
    return zs, activations


def mean_cost(cost, z, a, y):
    if cost == "quadratic":
        rows = 0.5 * np.square(a - y).sum(axis=1)
    elif cost == "huber":
        r = np.abs(a - y)
        rows = np.where(r > 1.0, r - 0.5, 0.5 * r * r).sum(axis=1)
    elif cost == "absolute":
        rows = np.abs(a - y).sum(axis=1)
    elif cost == "binary-cross-entropy":
        rows = (np.logaddexp(0.0, z) - y * z).sum(axis=1)
    else:
        rows = -(y * log_softmax(z)).sum(axis=1)
    return rows.mean()


def backpropagate(w, names, cost, zs, activations, y):
    delta = activations[-1] - y
    if cost == "huber":
        delta = np.clip(delta, -1.0, 1.0)
    if cost == "absolute":
        delta = np.sign(delta)
    if cost in ("quadratic", "huber", "absolute"):
        delta = delta * DERIVATIVE[names[-1]](zs[-1], activations[-1])
    deltas = [delta]
    for l in range(len(w) - 1, 0, -1):
        delta = (delta @ w[l]) * DERIVATIVE[names[l - 1]](zs[l - 1], activations[l])
        deltas.insert(0, delta)
    nabla_b = [d.mean(axis=0) for d in deltas]
    nabla_w = [d.T @ a / len(y) for d, a in zip(deltas, activations)]
    return deltas, nabla_b, nabla_w


def targets(cost, start, outputs):
    t = fractions(ROWS * outputs, start, 41).reshape(ROWS, outputs)
    if cost in ("quadratic", "huber", "absolute"):
        return t
    if cost == "binary-cross-entropy":
        # Soft labels, and hard ones in the last rows.
        return np.where(np.arange(ROWS)[:, None] < 3, np.abs(t), (t > 0.0) * 1.0)
    # Rows of non-negative 64ths that add up to 1 exactly; the last rows are one-hot.
    y = np.zeros((ROWS, outputs))
    for row in range(ROWS):
        if row < 3:
            y[row, :-1] = np.abs(np.round(t[row, :-1] * 64 / (outputs - 1))) / 64
            y[row, -1] = 1.0 - y[row, :-1].sum()
        else:
            y[row, (2 * row + 1) % outputs] = 1.0
    return y


def exact_in_f32(*arrays):
    return all(np.array_equal(v, v.astype(np.float32).astype(np.float64)) for v in arrays)


def check_kinks(name, zs, names):
    """ReLUs must be on both sides of their kink, and none so near it that f32 could land on the other side."""
    for z, function in zip(zs, names):
        if function.endswith("relu"):
            assert (z > 0.0).any() and (z < 0.0).any() and (np.abs(z) > 1e-3).all(), name


def case(number, name, sizes, names, cost, eta, gain=1.0):
    """`gain` multiplies the last layer's first parameters: with 256 the outputs reach z = +-100 and beyond."""
    w, b = [], []
    for l, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])):
        w.append(fractions(n_out * n_in, 7 + 11 * number + 29 * l, 37).reshape(n_out, n_in))
        b.append(fractions(n_out, 53 + 5 * number + 31 * l, 23) / 2)
    w[-1], b[-1] = w[-1] * gain, b[-1] * gain
    x = fractions(ROWS * sizes[0], 3 + 13 * number, 59).reshape(ROWS, sizes[0]) * 2
    y = targets(cost, 17 + 19 * number, sizes[-1])
    assert exact_in_f32(x, y, np.float64(eta), *w, *b)

    zs, activations = feedforward(w, b, names, x)
    deltas, nabla_b, nabla_w = backpropagate(w, names, cost, zs, activations, y)
    check_kinks(name, zs, names)
    assert gain == 1.0 or (zs[-1].max() > 100.0 and zs[-1].min() < -100.0), name
    for value in [*deltas, *nabla_b, *nabla_w]:
        assert np.isfinite(value).all() and np.abs(value).max() > 1e-3, name

    first = {"w": [v.tolist() for v in w], "b": [v.tolist() for v in b]}
    result = {
        "name": name,
        "sizes": sizes,
        "activations": names,
        "cost_function": cost,
        "eta": eta,
        "x": x.tolist(),
        "y": y.tolist(),
        **first,
        "z": [v.tolist() for v in zs],
        "a": [v.tolist() for v in activations[1:]],
        "cost": mean_cost(cost, zs[-1], activations[-1], y),
        "delta": [v.tolist() for v in deltas],
        "nabla_w": [v.tolist() for v in nabla_w],
        "nabla_b": [v.tolist() for v in nabla_b],
        "steps": [],
    }
    for _ in range(STEPS):
        zs, activations = feedforward(w, b, names, x)
        check_kinks(name, zs, names)
        before = mean_cost(cost, zs[-1], activations[-1], y)
        _, nabla_b, nabla_w = backpropagate(w, names, cost, zs, activations, y)
        w = [v - eta * nabla for v, nabla in zip(w, nabla_w)]
        b = [v - eta * nabla for v, nabla in zip(b, nabla_b)]
        result["steps"].append({"cost": before, "w": [v.tolist() for v in w], "b": [v.tolist() for v in b]})
    zs, activations = feedforward(w, b, names, x)
    result["cost_after"] = mean_cost(cost, zs[-1], activations[-1], y)
    assert result["cost_after"] < result["cost"], f"{name}: three steps must make the cost smaller"
    return result


def main():
    quadratic, binary, categorical = "quadratic", "binary-cross-entropy", "categorical-cross-entropy"
    net, eta = [4, 5, 3], 0.75
    cases = [
        case(0, "the network of the notes", net, ["sigmoid", "sigmoid"], quadratic, eta),
        case(1, "two classes", net, ["tanh", "sigmoid"], binary, eta),
        case(2, "three classes", net, ["relu", "softmax"], categorical, eta),
        case(3, "regression", net, ["tanh", "identity"], quadratic, 0.25),
        case(4, "bounded regression", net, ["relu", "tanh"], quadratic, eta),
        case(5, "positive regression", net, ["sigmoid", "relu"], quadratic, eta),
        case(6, "linear hidden layer", net, ["identity", "softmax"], categorical, eta),
        case(7, "two hidden layers", [4, 5, 4, 3], ["relu", "tanh", "sigmoid"], binary, eta),
        case(8, "saturated classes", net, ["tanh", "softmax"], categorical, 1 / 256, gain=256.0),
        case(9, "saturated labels", net, ["identity", "sigmoid"], binary, 1 / 256, gain=256.0),
        case(10, "leaky units", net, ["leaky-relu", "leaky-relu"], quadratic, 0.25),
        case(11, "exponential units", net, ["elu", "elu"], quadratic, 0.25),
        case(12, "Gaussian units", net, ["gelu", "gelu"], quadratic, 0.25),
        case(13, "Gaussian units by tanh", net, ["gelu-tanh", "gelu-tanh"], quadratic, 0.25),
        case(14, "sigmoid-weighted units", net, ["silu", "silu"], quadratic, 0.25),
        case(15, "softplus units", net, ["softplus", "softplus"], quadratic, 0.25),
        case(16, "a mixture", [4, 5, 4, 3], ["gelu", "elu", "softmax"], categorical, eta),
        case(17, "regression by Huber", net, ["tanh", "identity"], "huber", 0.25),
        case(18, "regression by absolute errors", net, ["tanh", "identity"], "absolute", 1 / 16),
    ]
    text = json.dumps({"numpy": np.__version__, "rows": ROWS, "cases": cases}, indent=1, allow_nan=False)
    # One line for each innermost list.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m.group(1)) + "]", text)
    pathlib.Path(__file__).with_name("golden.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
