"""The only place that knows pixels, waveforms and tokens."""
