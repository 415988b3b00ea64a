"""The paper's two model families; importing this registers them."""

from lwexp.train.families.glm import Glm as Glm
from lwexp.train.families.llama import Llama as Llama
