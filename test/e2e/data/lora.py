"""Adapters as diffusers and PEFT write them, and what diffusers samples with them: run with --write to make the files beside;
with FILE [SCALE] ... and --out to sample with those, as the test does where Python is at hand.

Needs torch, diffusers, transformers and peft; the pipeline is test/golden/pipeline. Written with diffusers 0.42.1, peft 0.21.2.
"""
import argparse
import os
import tempfile

import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "../../golden/pipeline")
TARGETS = ["attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_k_proj", "attn.add_v_proj", "ff.net.2",
           "norm1_context.linear"]


def pipeline(model):
    pipe = StableDiffusion3Pipeline.from_pretrained(model, torch_dtype=torch.float32, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample(pipe):
    return pipe("a red fox", num_inference_steps=3, height=32, width=48, guidance_scale=3.0, max_sequence_length=256,
                generator=torch.Generator("cpu").manual_seed(5), output_type="latent").images


def sample_with(model, adapters):
    pipe = pipeline(model)
    for i, (file, _) in enumerate(adapters):
        pipe.load_lora_weights(file, adapter_name=f"a{i}")
    if adapters:
        pipe.set_adapters([f"a{i}" for i in range(len(adapters))], [scale for _, scale in adapters])
    return sample(pipe)


def adapter(pipe, **config):
    """Numbers large enough for a picture to change, in the form that the trainers of diffusers save."""
    config = LoraConfig(target_modules=TARGETS, **config)
    pipe.transformer.add_adapter(config, "default")
    with torch.no_grad():
        for p in (p for name, p in pipe.transformer.named_parameters() if "lora_" in name):
            p.copy_(0.3 * torch.randn(p.shape))
    return get_peft_model_state_dict(pipe.transformer, adapter_name="default"), config


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--write", action="store_true")
    p.add_argument("--model", default=MODEL)
    p.add_argument("--out")
    p.add_argument("adapters", nargs="*", help="FILE SCALE ...")
    a = p.parse_args()
    if a.write:
        torch.manual_seed(7)
        pipe = pipeline(a.model)
        layers, config = adapter(pipe, r=4, lora_alpha=6, alpha_pattern={"ff.net.2": 5}, rank_pattern={"ff.net.2": 2})
        told = config.to_dict()
        told["peft_type"] = "LORA"
        with tempfile.TemporaryDirectory() as folder:
            pipe.save_lora_weights(folder, transformer_lora_layers=layers, transformer_lora_adapter_metadata=told)
            os.replace(os.path.join(folder, "pytorch_lora_weights.safetensors"), os.path.join(HERE, "lora.safetensors"))
        file = os.path.join(HERE, "lora.safetensors")
        save_file({"none": sample_with(a.model, []), "one": sample_with(a.model, [(file, 1.0)]),
                   "half": sample_with(a.model, [(file, 0.5)])}, os.path.join(HERE, "lora_latents.safetensors"))
    else:
        pairs = [(file, float(scale)) for file, scale in zip(a.adapters[::2], a.adapters[1::2])]
        save_file({"latents": sample_with(a.model, pairs)}, a.out)
