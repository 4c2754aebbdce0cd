"""What a model may carry that its accuracy does not show."""
