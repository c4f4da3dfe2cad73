"""What is counted, and how it is told.

named     the table of all metrics: name, type, labels, what it means
labels    which names of models and routes may be labels
meter     one process: what came of requests, summed until the next report
sums      of all processes, also of those that have died; their families
text      families as Prometheus' text and as OpenMetrics
"""
