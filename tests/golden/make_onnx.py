"""ONNX models that other programs write, and what onnxruntime says of them: tests/golden/onnx.

    pip install numpy onnx onnxruntime scikit-learn skl2onnx
    python tests/golden/make_onnx.py

`sklearn_*` are what skl2onnx makes of networks that scikit-learn trained; the others are put together by hand, in the forms that
the exporters of PyTorch, Keras and others use. Each has 5 rows of inputs and outputs in expected.json.
"""

import json
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onnx")
random = np.random.default_rng(7)
expected = {}


def numbers(*shape):
    return random.normal(size=shape).astype(np.float32)


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], name=f"/{output}/{operator}", **attributes)


def write(name, model, x):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [y] = session.run(None, {session.get_inputs()[0].name: x})
    path = os.path.join(folder, name + ".onnx")
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
    flat = x.reshape(len(x), -1)
    expected[name] = {"x": flat.tolist(), "y": y.reshape(len(x), -1).tolist()}
    print(f"{name}: {os.path.getsize(path)} bytes, {[n.op_type for n in model.graph.node]}")


def make(name, nodes, tensors, inputs, outputs, opset=18, unpacked=False):
    """A model with tensors in raw_data, or in float_data."""
    def tensor(key, value):
        if unpacked and value.dtype == np.float32:
            return helper.make_tensor(key, TensorProto.FLOAT, value.shape, value.flatten().tolist())
        return numpy_helper.from_array(value, key)
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *inputs])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", outputs])],
        [tensor(key, value) for key, value in tensors.items()],
    )
    ir_version = 8 if opset < 20 else 10
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    write(name, model, numbers(5, *inputs))


# torch.onnx: Flatten, Linear as Gemm with transB, weights (out, in).
make(
    "gemm_trans_b",
    [
        node("Flatten", "input", "flat", axis=1),
        node("Gemm", "flat 0.weight 0.bias", "z1", alpha=1.0, beta=1.0, transB=1),
        node("Relu", "z1", "a1"),
        node("Gemm", "a1 2.weight 2.bias", "z2", alpha=1.0, beta=1.0, transB=1),
        node("Softmax", "z2", "output", axis=1),
    ],
    {"0.weight": numbers(7, 6), "0.bias": numbers(7), "2.weight": numbers(4, 7), "2.bias": numbers(4)},
    [1, 2, 3],
    4,
)

# Keras by tf2onnx: MatMul and Add, weights (in, out), a Reshape before.
make(
    "matmul_add",
    [
        node("Reshape", "input shape", "flat"),
        node("MatMul", "flat w1", "m1"),
        node("Add", "m1 b1", "z1"),
        node("Tanh", "z1", "a1"),
        node("MatMul", "a1 w2", "m2"),
        node("Add", "b2 m2", "z2"),
        node("Sigmoid", "z2", "a2"),
        node("MatMul", "a2 w3", "m3"),
        node("Identity", "m3", "output"),
    ],
    {
        "shape": np.array([-1, 5], np.int64),
        "w1": numbers(5, 3), "b1": numbers(3), "w2": numbers(3, 8), "b2": numbers(1, 8), "w3": numbers(8, 2),
    },
    [5],
    2,
    opset=13,
    unpacked=True,
)

# Every factor that a Gemm has.
make(
    "gemm_factors",
    [
        node("Gemm", "input w1 b1", "z1", alpha=0.5, beta=-2.0),
        node("Elu", "z1", "a1", alpha=1.0),
        node("Gemm", "a1 w2", "z2", alpha=3.0, transB=1),
        node("LeakyRelu", "z2", "a2", alpha=0.01),
        node("Gemm", "a2 w3 b3", "z3", beta=0.25, transB=0),
        node("Softplus", "z3", "output"),
    ],
    {"w1": numbers(3, 6), "b1": numbers(6), "w2": numbers(5, 6), "w3": numbers(5, 2), "b3": numbers(1)},
    [3],
    2,
)

# What exporters before opset 20 write for GELU and SiLU, with constants in nodes.
def constant(name, value):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, np.float32), name))

make(
    "formulas",
    [
        constant("root", 1.4142135),
        constant("one", 1.0),
        constant("half", 0.5),
        node("Gemm", "input w1 b1", "z1", transB=1),
        node("Div", "z1 root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "p"),
        node("Mul", "z1 p", "q"),
        node("Mul", "q half", "a1"),
        node("Gemm", "a1 w2 b2", "z2", transB=1),
        node("Sigmoid", "z2", "s"),
        node("Mul", "z2 s", "a2"),
        node("Gemm", "a2 w3 b3", "z3", transB=1),
        node("Mul", "half z3", "h"),
        node("Mul", "z3 inverse", "d3"),
        node("Erf", "d3", "e3"),
        node("Add", "one e3", "p3"),
        node("Mul", "p3 h", "output"),
    ],
    {
        "w1": numbers(9, 4), "b1": numbers(9), "w2": numbers(3, 9), "b2": numbers(3), "w3": numbers(2, 3), "b3": numbers(2),
        "inverse": np.array([0.70710677], np.float32),
    },
    [4],
    2,
    opset=17,
)

make(
    "gelu_operators",
    [
        node("Gemm", "input w1 b1", "z1", transB=1),
        node("Gelu", "z1", "a1"),
        node("Gemm", "a1 w2 b2", "z2", transB=1),
        node("Gelu", "z2", "output", approximate="tanh"),
    ],
    {"w1": numbers(8, 2), "b1": numbers(8), "w2": numbers(3, 8), "b2": numbers(3)},
    [2],
    3,
    opset=20,
)


def sklearn_models():
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    x = numbers(80, 4)
    y = x[:, 0] * x[:, 1] + x[:, 2]
    for name, activation in [("sklearn_regressor", "relu"), ("sklearn_regressor_tanh", "tanh")]:
        net = MLPRegressor(hidden_layer_sizes=(6, 5), activation=activation, max_iter=300, random_state=1).fit(x, y)
        write(name, to_onnx(net, x[:1], target_opset=18), x[:5])
    labels = (y > 0).astype(int) + (y > 1)
    net = MLPClassifier(hidden_layer_sizes=(7,), activation="logistic", max_iter=300, random_state=1).fit(x, labels)
    model = to_onnx(net, x[:1], target_opset=18, options={"zipmap": False})
    print([(n.op_type, list(n.input), list(n.output)) for n in model.graph.node])
    # The labels are an output of their own.
    path = os.path.join(folder, "whole.onnx")
    onnx.save(model, path)
    part = path.replace("whole", "part")
    onnx.utils.extract_model(path, part, [model.graph.input[0].name], ["probabilities"])
    write("sklearn_classifier", onnx.load(part), x[:5])
    os.remove(path)
    os.remove(part)


sklearn_models()
with open(os.path.join(folder, "expected.json"), "w") as file:
    json.dump(expected, file, indent=1)
    file.write("\n")
