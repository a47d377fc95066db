"""The diffusion reward model as one writes it over diffusers' transformer; what the benches compare with."""
import json
import os

from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file
from torch import nn


class Reward(nn.Module):
    """The first blocks of the base, its own output layers, and the convolutional head."""

    def __init__(self, folder):
        super().__init__()
        with open(os.path.join(folder, "config.json")) as f:
            config = json.load(f)
        keep, head = config["keep_layers"], config["head"]
        backbone = {k: v for k, v in config["backbone"].items() if not k.startswith("_")}
        self.transformer = SD3Transformer2DModel(**backbone)
        self.transformer.transformer_blocks = self.transformer.transformer_blocks[:keep]
        widths = [backbone["out_channels"], head["channels"], 2 * head["channels"], 2 * head["channels"]]
        down = {f"down{i + 1}": nn.Sequential(nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1),
                                              nn.GroupNorm(head["groups"], widths[i + 1]), nn.ReLU()) for i in range(3)}
        mlp = nn.Sequential(nn.Linear(widths[-1], head["hidden"]), nn.ReLU(), nn.Dropout(0.1), nn.Linear(head["hidden"], 1))
        self.reward_output = nn.ModuleDict({**down, "mlp": mlp})
        missing, unexpected = self.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=False)
        # Only the last kept block's text output may be absent: it reaches no score.
        assert not unexpected and all(f"transformer_blocks.{keep - 1}." in name for name in missing), (missing, unexpected)

    def forward(self, x, timestep, context, pooled):
        f = self.transformer(hidden_states=x, timestep=timestep, encoder_hidden_states=context, pooled_projections=pooled, return_dict=False)[0]
        for i in (1, 2, 3):
            f = self.reward_output[f"down{i}"](f)
        return self.reward_output["mlp"](f.mean((2, 3)))[:, 0]
