"""From what people paste to the cause: the text, what it shows as facts and symptoms, and causes by certainty."""
