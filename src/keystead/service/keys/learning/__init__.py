"""Learn what each key server can do, before keys are written there."""
