"""Private fine-tuning at one site: frozen encoder, LoRA, DP-SGD. Only here is torch imported."""
