"""What pre-trained encoders are good for: probes of frozen features and fine-tuning."""
