"""Reading webhooks: who sent one (``signatures``), and what its body holds (``bodies``)."""
