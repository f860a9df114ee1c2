#!/usr/bin/env python3
"""Networks between PyTorch and wgrad, by safetensors files. Needs torch, numpy and safetensors.

    make_torch.py                       writes torch_{f32,f64,f16,bf16}.safetensors and torch.json beside itself
    make_torch.py --check FILE ASKED    loads FILE, which wgrad saved, into an nn.Sequential, and compares its outputs with those in
                                        ASKED, JSON with x and outputs, flat; exit code 1 if they differ by more than 2e-6
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn

HERE = pathlib.Path(__file__).parent


def network():
    return nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 7), nn.Tanh(), nn.Linear(7, 3))


def make():
    torch.manual_seed(1)
    net = network()
    # Multiples of 1/16, exact in f32.
    x = (torch.randint(-32, 33, (9, 5)) / 16).double()
    for name, kind in [("f32", torch.float32), ("f64", torch.float64), ("f16", torch.float16), ("bf16", torch.bfloat16)]:
        tensors = {key: value.to(kind).contiguous() for key, value in net.state_dict().items()}
        save_file(tensors, HERE / f"torch_{name}.safetensors")
    with torch.no_grad():
        outputs = net.double()(x)
    text = json.dumps({"torch": torch.__version__, "x": x.tolist(), "outputs": outputs.tolist()}, indent=1)
    (HERE / "torch.json").write_text(text + "\n")


def check(file, asked):
    tensors = load_file(file)
    net = network()
    # The layers of wgrad are counted without the activations between them.
    linear = [str(i) for i, module in enumerate(net) if isinstance(module, nn.Linear)]
    renamed = {}
    for key, value in tensors.items():
        layers, number, kind = key.split(".")
        assert layers == "layers", key
        renamed[f"{linear[int(number)]}.{kind}"] = value
    net.load_state_dict(renamed, strict=True)
    asked = json.loads(pathlib.Path(asked).read_text())
    x = torch.tensor(asked["x"], dtype=torch.float64).reshape(-1, 5)
    want = torch.tensor(asked["outputs"], dtype=torch.float64).reshape(-1, 3)
    with torch.no_grad():
        off = (net.double()(x) - want).abs().max().item()
    print(f"PyTorch {torch.__version__}: {len(renamed)} tensors loaded strictly, outputs within {off:.2e} of wgrad's")
    return 0 if off <= 2e-6 else 1


if __name__ == "__main__":
    sys.exit(check(*sys.argv[2:]) if sys.argv[1:2] == ["--check"] else make())
