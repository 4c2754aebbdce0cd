"""Teachers that write: language models behind one small protocol, and how they are asked what a text is."""
