"""The learning algorithms: data2vec 1.0, data2vec 2.0, their teacher and targets."""
