#!/usr/bin/env python3
"""Golden cases on a device: one line a case with the worst error over its tolerance.

    golden.py DRM_PARITY [--device cuda] [--json]

The rule is that of test/parity/report.ts: an error above its tolerance (wider on a GPU) fails, and so do a tensor that was not
recomputed, a NaN, and a tolerance of 0 with any error. Cases that Node checks alone (tokenizers, scorers) are left out.
Exit status 1 when a case failed.
"""
import json
import math
import os
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
TOKENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pipeline_tokens.json")
OF_NODE = {"tokenizers", "tokenizers_real", "scorers"}


# Tolerances were measured on CPUs. On a GPU sums run in other orders, and libtorch's fused AdamW takes 1 - beta2 in fp32,
# which moves the second moment by 1.3e-5 of itself.
ON_A_GPU = {"exp_avg_sq": 20}
ON_A_GPU_OTHERWISE = 2


def tolerance(comparison, device):
    factors = [f for name, f in ON_A_GPU.items() if comparison["tensor"].endswith(name)] or [ON_A_GPU_OTHERWISE]
    return comparison.get("atol", 0) * (1 if device == "cpu" else factors[0])


def ratio(comparison):
    error, atol = comparison.get("error"), comparison.get("tolerance")
    if error is None or math.isnan(error):
        return math.inf
    if error == 0:
        return 0.0
    return error / atol if atol else math.inf


def kind_of(folder):
    for name in ("case.json", "config.json"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path) as f:
                kind = json.load(f).get("case")
            if isinstance(kind, str):
                return kind
    return os.path.basename(folder)


def run(program, device, folder, kind):
    try:
        done = subprocess.run(
            [program, "--device", device, kind, folder, ROOT, TOKENS],
            capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return [], "no answer within 120 s"
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        return [], words[0] if words else f"ended with status {done.returncode}"
    return [json.loads(line) for line in done.stdout.splitlines() if line], ""


def main():
    arguments = [a for a in sys.argv[1:] if a != "--json"]
    program = arguments[0]
    device = arguments[arguments.index("--device") + 1] if "--device" in arguments else "cpu"
    passed = failed = 0
    for name in sorted(os.listdir(ROOT)):
        folder = os.path.join(ROOT, name)
        if not os.path.isdir(folder) or kind_of(folder) in OF_NODE:
            continue
        comparisons, why = run(program, device, folder, kind_of(folder))
        for c in comparisons:
            c["tolerance"] = tolerance(c, device)
        bad = [c for c in comparisons if not ratio(c) <= 1]
        worst = max(comparisons, key=ratio, default=None)
        ok = bool(comparisons) and not bad
        passed, failed = passed + ok, failed + (not ok)
        if "--json" in sys.argv:
            print(json.dumps({
                "golden": name, "ok": ok, "comparisons": len(comparisons), "failed": len(bad),
                "worst_ratio": ratio(worst) if worst and math.isfinite(ratio(worst)) else None,
                "worst": worst["tensor"] if worst else why}), flush=True)
        else:
            figure = f"worst error/tolerance {ratio(worst):.3f} ({worst['tensor']})" if worst else why
            print(f"  {'ok  ' if ok else 'FAIL'}  {name:20} {len(comparisons):4} comparisons, {figure}", flush=True)
        for c in bad[:8]:
            print(f"          {c['tensor']}: error {c.get('error')}, tolerance {c['tolerance']}; {c.get('note', '')}",
                  file=sys.stderr, flush=True)
    print(f"{passed} passed, {failed} failed", file=sys.stderr if "--json" in sys.argv else sys.stdout)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
