def train(config): print("ok", config.model.name)
