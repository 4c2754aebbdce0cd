"""Pure functions of tensors, per sample where they can be; reduction, temperature and scaling are arguments."""
