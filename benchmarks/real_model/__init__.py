"""The study of a real pretrained model (make study-real): its page, and its training step against TRL's."""
