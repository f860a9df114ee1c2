"""Checks a folder of ONNX models by onnx.checker and onnxruntime: what tests/export/onnx.rs writes and has checked.

cases.json: for each model its name, what goes in (a list for each input), what `predict` said, and what may lie between.
"""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime

folder = sys.argv[1]
with open(os.path.join(folder, "cases.json")) as file:
    cases = json.load(file)
onnxruntime.set_default_logger_severity(3)
largest, ratio, values, failed = 0.0, 0.0, 0, []


def compare(name, got, want, bounds):
    """Differences of all numbers against their bounds; NaN fails."""
    global largest, ratio, values
    got, want, bounds = (np.asarray(a, np.float64).flatten() for a in (got, want, bounds))
    if got.shape != want.shape or not len(got):
        failed.append(f"{name}: {got.shape} outputs beside {want.shape}")
        return
    difference = np.abs(got - want)
    if not np.all(difference <= bounds):
        at = int(np.argmax(~(difference <= bounds)))
        failed.append(f"{name}: output {at} is {got[at]} beside {want[at]}, {difference[at] / bounds[at]:.2f} of the bound")
        return
    largest, ratio, values = max(largest, difference.max()), max(ratio, (difference / bounds).max()), values + len(got)


for case in cases:
    name = case["name"]
    model = onnx.load(os.path.join(folder, name + ".onnx"))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(string)": object}
    rows, feed = case["rows"], {}
    for info in session.get_inputs():
        given = [float("nan") if x is None else x for x in case["inputs"][info.name]]
        feed[info.name] = np.array(given, types[info.type]).reshape(rows, -1)
    # All rows at once, then the first alone: the number of rows is free.
    for count in (rows, 1):
        outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, {k: v[:count] for k, v in feed.items()})))
        for output, want in case["outputs"].items():
            got = outputs.pop(output)
            wide = len(want["values"]) // rows
            values_wanted = want["values"][: count * wide]
            if "bounds" in want:
                compare(f"{name}, {output}, {count} rows", got, values_wanted, want["bounds"][: count * wide])
            elif list(got.flatten()) != values_wanted:
                failed.append(f"{name}, {output}: {list(got.flatten())} beside {values_wanted}")
        if outputs:
            failed.append(f"{name}: outputs {list(outputs)} that nobody wants")

for problem in failed[:20]:
    print("FAILED", problem)
print(
    f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}: {len(cases)} models, {values} numbers, "
    f"largest difference from predict {largest:.2e}, {ratio:.3f} of the bound"
)
sys.exit(1 if failed or not values else 0)
