#!/usr/bin/env python3
"""Writes optimizers.json, beside this script: 20 steps of every optimiser with PyTorch, in float64.

A 4-5-3 network (tanh, sigmoid; the cost is the mean over the rows of half the squared distance) learns one mini-batch, with each of
PyTorch's optimisers as wgrad names them, without and with weight decay on the weights (never on the biases), and once with each way of
clipping the gradients. Data, first parameters and settings are exact in f32, but for the last two cases, which have PyTorch's defaults.

    python3 make_optimizers.py          (needs PyTorch)

Layout of the file: x, y, w, b as in golden.json; `cases` is a list, in which `settings` are those of the optimiser, `costs` has the cost
before each step and after the last, and `steps` the parameters after some of them, by their number from 1.
"""

import json
import pathlib
import re

import torch

ROWS, STEPS, KEPT = 6, 20, (1, 2, 5, 10, 20)
SIZES = (4, 5, 3)


def fractions(count, start, factor):
    """As in make_golden.py: multiples of 1/64 in [-0.75, 0.75]."""
    numbers = (start + factor * torch.arange(count, dtype=torch.float64)) % 97
    return (numbers - 48) / 64


def first_parameters():
    w, b = [], []
    for l, (n_in, n_out) in enumerate(zip(SIZES, SIZES[1:])):
        w.append(fractions(n_out * n_in, 7 + 29 * l, 37).reshape(n_out, n_in))
        b.append(fractions(n_out, 53 + 31 * l, 23) / 2)
    return w, b


X = fractions(ROWS * SIZES[0], 3, 59).reshape(ROWS, SIZES[0]) * 2
Y = fractions(ROWS * SIZES[-1], 17, 41).reshape(ROWS, SIZES[-1]).abs()


def mean_cost(w, b):
    a = torch.tanh(X @ w[0].T + b[0])
    a = torch.sigmoid(a @ w[1].T + b[1])
    return 0.5 * (a - Y).square().sum(dim=1).mean()


def optimizer(name, s, groups):
    if name in ("sgd", "momentum", "nesterov"):
        momentum = s.get("mu", 0.0)
        return torch.optim.SGD(groups, lr=s["eta"], momentum=momentum, nesterov=name == "nesterov")
    if name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=s["eta"], alpha=s["alpha"], eps=s["epsilon"])
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(groups, lr=s["eta"], betas=(s["beta_1"], s["beta_2"]), eps=s["epsilon"])


def case(name, settings):
    w, b = [[v.clone().requires_grad_() for v in layers] for layers in first_parameters()]
    decay = settings.get("weight_decay", 0.0)
    step = optimizer(name, settings, [{"params": w, "weight_decay": decay}, {"params": b, "weight_decay": 0.0}])
    result = {"optimizer": name, "settings": settings, "costs": [], "steps": {}}
    for number in range(1, STEPS + 1):
        step.zero_grad()
        cost = mean_cost(w, b)
        result["costs"].append(cost.item())
        cost.backward()
        if "clip_value" in settings:
            largest = max(v.grad.abs().max() for v in w + b)
            assert largest > settings["clip_value"] or number > 1, "the first gradient must be clipped"
            torch.nn.utils.clip_grad_value_(w + b, settings["clip_value"])
        if "clip_norm" in settings:
            # PyTorch adds 1e-6 to the norm, wgrad does not: the same by hand.
            norm = torch.sqrt(sum(v.grad.square().sum() for v in w + b))
            assert norm > settings["clip_norm"] or number > 1, "the first gradient must be clipped"
            for v in w + b:
                v.grad *= min(1.0, settings["clip_norm"] / norm)
        step.step()
        if number in KEPT:
            result["steps"][number] = {"w": [v.tolist() for v in w], "b": [v.tolist() for v in b]}
    result["costs"].append(mean_cost(w, b).item())
    assert result["costs"][-1] < result["costs"][0], name
    return result


def main():
    momentum = {"eta": 0.25, "mu": 0.875}
    rmsprop = {"eta": 2**-7, "alpha": 0.9375, "epsilon": 2**-20}
    adam = {"eta": 2**-5, "beta_1": 0.875, "beta_2": 0.984375, "epsilon": 2**-20}
    plain = [("sgd", {"eta": 0.5}), ("momentum", momentum), ("nesterov", momentum), ("rmsprop", rmsprop), ("adam", adam), ("adamw", adam)]
    cases = []
    for name, settings in plain:
        for decay in (0.0, 2**-4):
            cases.append(case(name, settings | {"weight_decay": decay}))
    cases.append(case("sgd", {"eta": 0.5, "weight_decay": 2**-5, "clip_value": 2**-6}))
    cases.append(case("momentum", momentum | {"weight_decay": 2**-5, "clip_norm": 2**-5}))
    defaults = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    cases.append(case("adam", defaults | {"eta": 0.01, "weight_decay": 0.0}))
    cases.append(case("adamw", defaults | {"eta": 0.01, "weight_decay": 0.01}))
    w, b = first_parameters()
    file = {"torch": torch.__version__, "sizes": SIZES, "x": X.tolist(), "y": Y.tolist()}
    file |= {"w": [v.tolist() for v in w], "b": [v.tolist() for v in b], "cases": cases}
    text = json.dumps(file, indent=1, allow_nan=False)
    # One line for each innermost list.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m.group(1)) + "]", text)
    pathlib.Path(__file__).with_name("optimizers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
