"""Figures on real data: accuracy, calibration, agreement with the teacher."""
