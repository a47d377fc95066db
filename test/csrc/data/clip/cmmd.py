#!/usr/bin/env python3
"""Prints CMMD of the two sets that cmmd_test.cc makes, by the formula of Jayasumana et al.'s published code (means over
all pairs, sigma 10, scale 1000) in float64, and the same without the diagonals."""
import numpy as np


def features(rows, seed, shift):
    i, j = np.meshgrid(np.arange(rows), np.arange(24), indexing="ij")
    x = (np.sin(1.7 * i + 0.9 * j * (seed + 1)) + shift * np.cos(0.3 * j)).astype(np.float32).astype(np.float64)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)


def kernel(a, b):
    return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 200)


x, y = features(37, 0, 0.4), features(29, 1, 0.1)
xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
off = lambda k: (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))
print(repr(1000 * (xx.mean() + yy.mean() - 2 * xy.mean())), repr(1000 * (off(xx) + off(yy) - 2 * xy.mean())))
