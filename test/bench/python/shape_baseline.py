"""How far measured features alone go at the question that CLIP is asked on `test-style`: which of 256 things is this, known
from training in other styles? Histograms of gradients and colours, first as they are, then whitened within concepts
(Hastie and Tibshirani 1996: directions in which styles of a thing differ count less). Nothing is trained by gradients.

    python test/bench/python/shape_baseline.py data/emoji
"""
import io
import json
import math
import sys
import tarfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


def read(folder, split):
    """(B, 3, H, W) in [0, 1], and each picture's concept."""
    pictures, concepts = {}, {}
    for shard in sorted(Path(folder).glob(f"{split}-[0-9]*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, extension = member.name.rpartition(".")
                data = tar.extractfile(member).read()
                if extension == "json":
                    concepts[key] = json.loads(data)["concept"]
                else:
                    pictures[key] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    pixels = torch.from_numpy(np.stack([pictures[key] for key in concepts]))
    return pixels.permute(0, 3, 1, 2).float() / 255, list(concepts.values())


def gradients(x, cell, bins=9):
    """Histograms of oriented gradients (Dalal and Triggs 2005) of cells that overlap by half; strongest channel."""
    dx = F.pad(x, (1, 1, 0, 0), mode="replicate")
    dy = F.pad(x, (0, 0, 1, 1), mode="replicate")
    dx, dy = dx[..., 2:] - dx[..., :-2], dy[..., 2:, :] - dy[..., :-2, :]
    size, channel = (dx**2 + dy**2).sqrt().max(1, keepdim=True)
    angle = torch.atan2(dy.gather(1, channel), dx.gather(1, channel)).remainder(math.pi) / math.pi * bins
    low = angle.floor()
    histogram = torch.zeros(len(x), bins, *x.shape[2:])
    histogram.scatter_add_(1, low.long() % bins, size * (1 - angle + low))
    histogram.scatter_add_(1, (low.long() + 1) % bins, size * (angle - low))
    histogram = F.avg_pool2d(histogram, cell, cell // 2)
    return F.normalize((histogram / (histogram.pow(2).sum(1, keepdim=True).sqrt() + 0.02)).flatten(1), dim=1)


def colours(x, cell=8):
    """Where which colour is, and how much of each of 64 there is."""
    place = F.normalize(F.avg_pool2d(1 - x, cell, cell // 2).flatten(1), dim=1)
    code = ((x * 3.99).long() * torch.tensor([16, 4, 1]).view(1, 3, 1, 1)).sum(1).flatten(1)
    return place, torch.stack([(code == c).float().mean(1) for c in range(64)], 1).sqrt()


def top1(train, test, concepts, wanted):
    """Share of test pictures whose own concept's mean training picture is the nearest, of all that are wanted."""
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    of = {c: [i for i, own in enumerate(concepts) if own == c] for c in set(wanted)}
    means = F.normalize(torch.stack([train[of[c]].mean(0) for c in wanted]), dim=1)
    nearest = (test @ means.T).argmax(1).tolist()
    return sum(wanted[j] == wanted[i] for i, j in enumerate(nearest)) / len(wanted)


def whitening(train, concepts, ridge=0.02):
    index = {c: i for i, c in enumerate(dict.fromkeys(concepts))}
    concept = torch.tensor([index[c] for c in concepts])
    means = torch.zeros(len(index), train.shape[1]).index_add_(0, concept, train) / concept.bincount()[:, None]
    within = train - means[concept]
    scatter = within.T @ within / len(train)
    scatter += ridge * scatter.diagonal().mean() * torch.eye(len(scatter))
    return torch.linalg.cholesky(torch.linalg.inv(scatter))


torch.manual_seed(0)
x_train, concepts = read(sys.argv[1], "train")
x_test, wanted = read(sys.argv[1], "test-style")
x_test, wanted = x_test[:256], wanted[:256]
features = {
    "gradients": lambda x: gradients(x, 8),
    "colours": lambda x: torch.cat(colours(x), 1),
    "both": lambda x: torch.cat([gradients(x, 16), gradients(x, 8), 0.7 * colours(x)[0], 0.5 * colours(x)[1]], 1),
}
print(f"top-1 of {len(wanted)} test-style pictures among the mean training pictures of {len(set(wanted))} concepts")
for name, feature in features.items():
    train, test = feature(x_train), feature(x_test)
    mean = train.mean(0)
    basis = torch.pca_lowrank(train - mean, min(600, train.shape[1]), niter=3)[2]
    train, test = (train - mean) @ basis, (test - mean) @ basis
    w = whitening(train, concepts)
    print(f"{name:<10} {top1(train, test, concepts, wanted):6.1%}   whitened within concepts {top1(train @ w, test @ w, concepts, wanted):6.1%}", flush=True)
