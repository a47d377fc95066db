#!/usr/bin/env python3
"""Writes loss.safetensors: transformers' contrastive loss and its gradients for the golden clip_l, at another
temperature than the fixture's (which sits on the clamp). usage: make_loss.py path/to/golden/scorers"""
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

golden = sys.argv[1]
tower = dict(hidden_act="quick_gelu", num_hidden_layers=2, projection_dim=16)
config = CLIPConfig(
    text_config=dict(tower, hidden_size=24, intermediate_size=96, num_attention_heads=3, vocab_size=120,
                     max_position_embeddings=16, bos_token_id=118, eos_token_id=119, pad_token_id=119),
    vision_config=dict(tower, hidden_size=32, intermediate_size=128, num_attention_heads=4, image_size=56, patch_size=14),
    projection_dim=16)
model = CLIPModel(config)
model.load_state_dict(load_file(f"{golden}/clip_l.hf.safetensors"))
with torch.no_grad():
    model.logit_scale.fill_(1.5)
io = load_file(f"{golden}/io.safetensors")
out = model(input_ids=io["clip_l/input_ids"], pixel_values=io["clip_l/pixel_values"], return_loss=True)
out.loss.backward()
keep = ("logit_scale", "class_embedding", "position_embedding.weight", "layrnorm.weight",
        "layers.0.self_attn.q_proj.bias", "layers.1.mlp.fc2.bias", "final_layer_norm.bias", "post_layernorm.weight",
        "_projection.weight")
tensors = {"loss": out.loss.detach(), "logits_per_image": out.logits_per_image.detach().contiguous()}
tensors |= {"grad." + name: p.grad.contiguous() for name, p in model.named_parameters() if name.endswith(keep)}
save_file(tensors, __file__.replace("make_loss.py", "loss.safetensors"))
print(out.loss.item(), len(tensors))
