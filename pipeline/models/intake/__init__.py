"""From a bundle as people bring it, a folder or a ZIP, to a bundle of our form.

Nothing in it runs. What is no data is left out or refused by name, weights become safetensors in a
process of their own, and what the metadata does not say is asked for, never guessed.
"""
