"""Teachers behind an API: what is offered, what a question costs, how an answer is read; simulated or over HTTP."""
