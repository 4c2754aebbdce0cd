"""Image files and arrays from outside, read without trusting what they claim to be."""
