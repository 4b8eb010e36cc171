"""Data: where each set comes from, checks on what arrived, preparation, and batches for training.

`sources` is the table of data sets, `prepare` turns one of them into `<data_dir>/<name>/`, `images` reads
that folder, `batches` feeds it to training and evaluation.
"""
