"""What the gate will be able to conclude, said before anything is spent.

Tables are drawn at declared truths, noised as the charter's plan says, and judged by the gate's own
estimators. No record is read and no budget is spent.
"""
