"""Metrics of generated samples: functions of tensors. They do not depend on runs or configs."""
