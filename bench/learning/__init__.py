"""What the learner is worth on recorded outcomes of real models, beside known methods: python -m bench.learning."""
