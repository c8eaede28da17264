"""The rules of the gate. Each reads charter and evidence, and answers with figure and sentence."""
