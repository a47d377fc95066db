"""Writes short_prompts.safetensors: what diffusers makes of the fixture pipeline when its first tokenizer reads 24 tokens
and T5 is neither there nor padded for (max_sequence_length=0). Run once, with diffusers 0.42.1 and torch 2.13.0 on a CPU:

    python test/e2e/data/short_prompts.py
"""
import json
import pathlib
import shutil
import tempfile

import torch
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file

here = pathlib.Path(__file__).parent
fixture = here.parent.parent / "golden" / "pipeline"
torch.set_num_threads(1)

with tempfile.TemporaryDirectory() as scratch:
    model = pathlib.Path(scratch) / "model"
    shutil.copytree(fixture, model)
    config = model / "tokenizer" / "tokenizer_config.json"
    config.chmod(0o644)
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_max_length": 24}))
    pipe = StableDiffusion3Pipeline.from_pretrained(model, text_encoder_3=None, tokenizer_3=None)
    assert pipe.tokenizer_max_length == 24
    facts = json.loads((fixture / "case.json").read_text())["facts"]
    embeds, _, _, _ = pipe.encode_prompt(facts["prompts"], None, None, max_sequence_length=0)
    assert embeds.shape[1] == 24
    latents = pipe(
        prompt=facts["prompts"],
        negative_prompt=facts["negative_prompts"],
        num_inference_steps=facts["steps"],
        guidance_scale=facts["guidance"],
        height=facts["height"],
        width=facts["width"],
        latents=load_file(fixture / "io.safetensors")["initial_latents"],
        max_sequence_length=0,
        output_type="latent",
    ).images
    save_file({"latents": latents.contiguous()}, here / "short_prompts.safetensors")
    print(tuple(latents.shape), latents.abs().max().item())
