"""What generated samples are worth: functions of tensors, which know nothing of runs."""
