"""Built-in teachers and judges: any model that litellm reaches, the offline stand-ins, and no judge."""
