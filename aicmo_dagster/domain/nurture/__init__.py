"""What is due to whom and when: pure planning, timing and caps. Not here: messages or delivery."""
