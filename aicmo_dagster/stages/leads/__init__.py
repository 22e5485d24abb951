"""One lead, or a stage's leads, for whoever asks: explained, exported, erased."""
