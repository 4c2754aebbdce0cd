"""What a student is worth on local cases of patients: beside its teacher, in figures of which no case can be told."""
