"""What pretraining and fine-tuning share: device, processes, optimizers, schedule, resumable state, logs, curves."""
